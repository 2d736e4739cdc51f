// SPDX-License-Identifier: Apache-2.0
/** Ports of a slice by name and protocol, looked for one way in narrow slices and another way in wide ones. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { SCTP, TCP, UDP } from '../../../core/address.ts';
import { portsOf } from '../../../core/control/endpoints.ts';
import { decodeSlice } from '../../../core/control/slices.ts';
import { compile } from './compiled.ts';
import { added, endpoint, service, slice } from './objects.ts';

const PROTOCOLS = [TCP, UDP, SCTP];

test('of any number of ports those of the name and protocol are found, in their order, also when asked again', () => {
  const ports = fc.array(
    fc.record({
      name: fc.constantFrom('', 'a', 'b', 'a b'),
      protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
      port: fc.integer({ min: 1, max: 65_535 }),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(ports, (listed) => {
      const info = decodeSlice(slice('web', [], { ports: listed }));
      if (info === undefined) throw new Error('the slice has a name and a label');
      for (const name of ['', 'a', 'b', 'a b', 'c']) {
        for (const protocol of PROTOCOLS) {
          const wanted = info.ports.filter((one) => one.name === name && one.protocol === protocol);
          expect(portsOf(info, { name, protocol })).toEqual(wanted);
          expect(portsOf(info, { name, protocol })).toEqual(wanted);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('a Service with many ports has the endpoints of each under its own number', () => {
  const numbers = Array.from({ length: 30 }, (_, index) => index + 1);
  const ports = numbers.map((number) => ({ name: `p${number}`, port: number, protocol: 'TCP' }));
  const targets = numbers.map((number) => ({ name: `p${number}`, port: 8000 + number, protocol: 'TCP' }));
  const compiled = compile([
    added(service('web', '10.96.0.1', { ports })),
    added(slice('web', [endpoint('10.0.0.1')], { ports: targets })),
  ]);
  const found = new Map(compiled.frontends.map(({ port, internal }) => [port, internal?.backends[0]?.port]));
  expect(numbers.map((number) => found.get(number))).toEqual(numbers.map((number) => 8000 + number));
});
