// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants that nobody finds, each with the reason why nobody can: printed with the table. */

/** Key of a mutant (proof/mechanical.ts) -> why it survives. One whose line changes must be argued anew. */
export const argued: Readonly<Record<string, string>> = {};
