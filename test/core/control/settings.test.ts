// SPDX-License-Identifier: Apache-2.0
/** What the programs are told of a node: ranges of Service addresses as base and mask, the address of hairpins. */
import { expect, test } from 'vitest';
import { address, parseAddress, parsePrefix, type Address, type Prefix } from '../../../core/address.ts';
import { nodeSettings } from '../../../core/control/settings.ts';

function range(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

function ip(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

const ONES = 0xffffffff;

test('ranges of both families lie in rows of their own', () => {
  const settings = nodeSettings([range('fd00:96::/108'), range('10.96.0.0/12')], []);
  if (!settings.ok) throw new Error('settings');
  expect(settings.value.serviceRanges).toHaveLength(8);
  expect(settings.value.serviceRanges[0]).toEqual({
    base: address(0, 0, 0xffff, 0x0a600000),
    mask: address(ONES, ONES, ONES, 0xfff00000),
  });
  expect(settings.value.serviceRanges[4]).toEqual({
    base: address(0xfd000096, 0, 0, 0),
    mask: address(ONES, ONES, ONES, 0xfff00000),
  });
  for (const row of [1, 2, 3, 5, 6, 7]) expect(settings.value.serviceRanges[row]?.mask).toEqual(address(0, 0, 0, 0));
});

test('the first address of each family is the one that pods hear themselves from', () => {
  const settings = nodeSettings([], ['fd00::7', '192.0.2.10', '192.0.2.11'].map(ip));
  expect(settings.ok ? settings.value.hairpinSource : []).toEqual([ip('192.0.2.10'), ip('fd00::7')]);
});

test('more ranges than the programs hold are refused with what there is and what to do', () => {
  const many = [1, 2, 3, 4, 5].map((part) => range(`10.${part}.0.0/16`));
  const settings = nodeSettings(many, []);
  expect(settings.ok ? undefined : settings.error).toMatchObject({
    kind: 'limit',
    object: 'serviceCIDRs',
    message: expect.stringContaining('5 IPv4 ranges, the programs hold 4: 10.1.0.0/16') as string,
    remedy: 'join ranges that lie side by side',
  });
});
