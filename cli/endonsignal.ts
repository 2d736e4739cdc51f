// SPDX-License-Identifier: Apache-2.0
/** What a signal does to a command that has a lab. */
import type { Lab } from '../lab/lab.ts';

/** As a shell reports a process that a signal ended. */
const signalCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** A signal takes the lab away before the process ends; programs and captures go with their processes. */
export function endOnSignal(lab: Lab): void {
  for (const [signal, code] of Object.entries(signalCodes)) {
    process.once(signal, () => {
      void lab.stop().finally(() => process.exit(code));
    });
  }
}
