// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants of the control plane that no test finds, each with the reason why none can. */
import type { Argued } from './fates.ts';

/** Key of a mutant (proof/control/draw.ts) -> why it survives. One whose line changes must be argued anew. */
export const argued: Argued = {};
