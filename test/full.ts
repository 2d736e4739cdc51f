// SPDX-License-Identifier: Apache-2.0
/** Long campaigns, all faults: `tandem test --full`. */
export const isFull: boolean = process.env['TANDEM_TEST_FULL'] === '1';
