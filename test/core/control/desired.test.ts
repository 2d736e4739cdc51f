// SPDX-License-Identifier: Apache-2.0
/** Which endpoints a Service offers on a node and why others are left out, rule by rule. */
import { describe, expect, test } from 'vitest';
import { compile, only, summary, web } from './compiled.ts';
import { added, endpoint, node, service, slice } from './objects.ts';

const terminating = { ready: false, serving: true, terminating: true };

describe('1.1 which Services', () => {
  test.each([
    ['clusterIP None', service('web', 'None')],
    ['no clusterIP', service('web', '')],
    ['type ExternalName', service('web', '10.96.0.1', { type: 'ExternalName' })],
    [
      'A2: another proxy is named',
      service('web', '10.96.0.1', {}, { 'service.kubernetes.io/service-proxy-name': 'other' }),
    ],
    [
      'A2: a proxy is named by nothing',
      service('web', '10.96.0.1', {}, { 'service.kubernetes.io/service-proxy-name': '' }),
    ],
  ])('A1: a Service is left alone with %s', (_what, object) => {
    expect(compile([added(object), added(slice('web', [endpoint('10.0.0.1')]))]).frontends).toEqual([]);
  });

  test('A1: a type we do not know is proxied', () => {
    expect(only(compile(web([endpoint('10.0.0.1')], { type: 'Nonsense' }))).address).toBe('10.96.0.1');
  });

  test('A2: with serviceProxyName set, Services labelled with it are ours and no others', () => {
    const ours = service('ours', '10.96.0.1', {}, { 'service.kubernetes.io/service-proxy-name': 'tandem' });
    const compiled = compile([added(ours), added(service('web', '10.96.0.2'))], { serviceProxyName: 'tandem' });
    expect(compiled.frontends.map((frontend) => frontend.service)).toEqual(['shop/ours']);
  });

  test('A2, B16: a label or type that changes on a live Service takes the frontend away and brings it back', () => {
    const plain = added(service('web', '10.96.0.1'));
    const labelled = added(service('web', '10.96.0.1', {}, { 'service.kubernetes.io/service-proxy-name': 'x' }));
    const external = added(service('web', '', { type: 'ExternalName' }));
    expect(compile([plain, labelled]).frontends).toHaveLength(0);
    expect(compile([plain, labelled, plain]).frontends).toHaveLength(1);
    expect(compile([plain, external]).frontends).toHaveLength(0);
    expect(compile([external, plain]).frontends).toHaveLength(1);
  });

  test('A3: slices labelled headless do not count, and the frontend refuses', () => {
    const hidden = slice('web', [endpoint('10.0.0.1')], { labels: { 'service.kubernetes.io/headless': '' } });
    const compiled = compile([added(service('web', '10.96.0.1')), added(hidden)]);
    expect(summary(only(compiled))).toEqual({ chosen: [], excluded: [], whenEmpty: 'reject' });
  });

  test('A4: one number on three protocols is three frontends, each with its own endpoints', () => {
    const ports = ['TCP', 'UDP', 'SCTP'].map((protocol) => ({ name: protocol.toLowerCase(), port: 53, protocol }));
    const slices = ports.map((port, index) =>
      added(slice('web', [endpoint(`10.0.0.${index}`)], { slice: port.name, ports: [{ ...port, port: 5353 }] })),
    );
    const compiled = compile([added(service('web', '10.96.0.1', { ports })), ...slices]);
    const rows = compiled.frontends.map(
      ({ protocol, internal }) => `${protocol} ${internal?.backends.map(({ address }) => address).join()}`,
    );
    expect(rows).toEqual(['SCTP 10.0.0.2', 'TCP 10.0.0.0', 'UDP 10.0.0.1']);
  });

  test('A8: leading zeros are decimal', () => {
    const compiled = compile([
      added(service('web', '010.096.000.001')),
      added(slice('web', [endpoint('010.0.0.010')])),
    ]);
    expect(only(compiled).address).toBe('10.96.0.1');
    expect(summary(only(compiled)).chosen).toEqual(['10.0.0.10 active']);
  });

  test('B14: the port comes from the slice by name, and endpoints may resolve it differently', () => {
    const other = slice('web', [endpoint('10.0.0.2')], { slice: 'web-2', ports: [{ name: 'http', port: 9090 }] });
    const compiled = compile([...web([endpoint('10.0.0.1')]), added(other)]);
    expect(only(compiled).internal?.backends.map(({ port }) => port)).toEqual([8080, 9090]);
  });
});

describe('2.1 and 2.2 conditions', () => {
  const cases: readonly (readonly [
    boolean | null | undefined,
    boolean | null | undefined,
    boolean | null | undefined,
    string,
  ])[] = [
    [true, true, false, '10.0.0.1 active'],
    [true, false, true, '10.0.0.1 active'],
    [true, true, true, '10.0.0.1 active'],
    [undefined, undefined, undefined, '10.0.0.1 active'],
    [null, false, null, '10.0.0.1 active'],
    [false, true, true, '10.0.0.1 terminating'],
    [false, undefined, true, '10.0.0.1 terminating'],
    [false, true, false, '10.0.0.1 not-ready'],
    [false, true, undefined, '10.0.0.1 not-ready'],
    [false, false, true, '10.0.0.1 not-ready'],
    [false, false, false, '10.0.0.1 not-ready'],
  ];
  test.each(cases)('ready %s, serving %s, terminating %s: %s', (ready, serving, ending, outcome) => {
    const conditions = {
      ...(ready === undefined ? {} : { ready }),
      ...(serving === undefined ? {} : { serving }),
      ...(ending === undefined ? {} : { terminating: ending }),
    };
    const { chosen, excluded } = summary(only(compile(web([{ addresses: ['10.0.0.1'], conditions }]))));
    expect([...chosen, ...excluded]).toEqual([outcome]);
  });

  test('an endpoint without conditions is ready', () => {
    expect(summary(only(compile(web([{ addresses: ['10.0.0.1'] }])))).chosen).toEqual(['10.0.0.1 active']);
  });

  test('terminating endpoints are used only where no ready one is left', () => {
    const { chosen, excluded } = summary(only(compile(web([endpoint('10.0.0.1', terminating), endpoint('10.0.0.2')]))));
    expect({ chosen, excluded }).toEqual({ chosen: ['10.0.0.2 active'], excluded: ['10.0.0.1 terminating'] });
  });
});

describe('2.3 ports and addresses', () => {
  test.each([
    ['another name', [{ name: 'other', port: 8080 }], ['10.0.0.1 no-such-port']],
    ['another protocol', [{ name: 'http', port: 8080, protocol: 'UDP' }], ['10.0.0.1 no-such-port']],
    ['no name', [{ port: 8080 }], ['10.0.0.1 no-such-port']],
    ['no number', [{ name: 'http' }], ['10.0.0.1 no-such-port']],
    ['number 0', [{ name: 'http', port: 0 }], ['10.0.0.1 no-such-port']],
    ['no ports', null, ['10.0.0.1 no-such-port']],
  ])('a slice port with %s is not the port of the Service', (_what, ports, excluded) => {
    const compiled = compile([
      added(service('web', '10.96.0.1')),
      added(slice('web', [endpoint('10.0.0.1')], { ports })),
    ]);
    expect(summary(only(compiled))).toEqual({ chosen: [], excluded, whenEmpty: 'reject' });
  });

  test('an empty port name is a name', () => {
    const unnamed = service('web', '10.96.0.1', { ports: [{ port: 80 }] });
    const compiled = compile([
      added(unnamed),
      added(slice('web', [endpoint('10.0.0.1')], { ports: [{ name: '', port: 8080 }] })),
    ]);
    expect(summary(only(compiled)).chosen).toEqual(['10.0.0.1 active']);
  });

  test('endpoints are ordered by the string address:port', () => {
    const { chosen } = summary(only(compile(web([endpoint('10.0.0.9'), endpoint('10.0.0.10'), endpoint('9.0.0.1')]))));
    expect(chosen).toEqual(['10.0.0.10 active', '10.0.0.9 active', '9.0.0.1 active']);
  });

  test('H6: only the first address counts, an endpoint without one is ignored, one that is none is told', () => {
    const endpoints = [
      { addresses: ['10.0.0.1', '10.0.0.2'] },
      { addresses: [] },
      {},
      { addresses: ['nope'] },
      { addresses: ['fd00::1'] },
    ];
    const compiled = compile(web(endpoints));
    expect(summary(only(compiled))).toMatchObject({
      chosen: ['10.0.0.1 active'],
      excluded: ['fd00::1 invalid-address', 'nope invalid-address'],
    });
    expect(compiled.problems.map(({ object, field, message }) => `${object} ${field}: ${message}`)).toEqual([
      'EndpointSlice shop/web-1 endpoints[1].addresses: empty: the endpoint is ignored',
      'EndpointSlice shop/web-1 endpoints[2].addresses: empty: the endpoint is ignored',
      'EndpointSlice shop/web-1 endpoints[3].addresses[0]: not an IPv4 address: "nope"',
      'EndpointSlice shop/web-1 endpoints[4].addresses[0]: not an IPv4 address: "fd00::1"',
    ]);
  });

  test.each([
    ['terminating first', [endpoint('10.0.0.1', terminating)], [endpoint('10.0.0.1')]],
    ['terminating last', [endpoint('10.0.0.1')], [endpoint('10.0.0.1', terminating)]],
  ])('H4: of one address in two slices the one that is not terminating wins, %s', (_what, first, second) => {
    const compiled = compile([...web(first), added(slice('web', second, { slice: 'web-2' }))]);
    expect(summary(only(compiled))).toMatchObject({ chosen: ['10.0.0.1 active'], excluded: ['10.0.0.1 duplicate'] });
  });
});

test('H4: not terminating wins although the other one is ready', () => {
  const ready = endpoint('10.0.0.1', { ready: true, terminating: true });
  const waiting = endpoint('10.0.0.1', { ready: false });
  for (const [first, second] of [
    [ready, waiting],
    [waiting, ready],
  ] as const) {
    const compiled = compile([...web([first]), added(slice('web', [second], { slice: 'web-2' }))]);
    expect(summary(only(compiled)).excluded).toEqual(['10.0.0.1 duplicate', '10.0.0.1 not-ready']);
  }
});

describe('1.9 families', () => {
  const dual = { clusterIPs: ['10.96.0.1', 'fd00:96::1'], ipFamilies: ['IPv4', 'IPv6'] };
  const six = slice('web', [endpoint('fd00::9')], { slice: 'web-6', addressType: 'IPv6' });

  test('H1: each family has its own frontend and endpoints', () => {
    const { frontends } = compile([...web([endpoint('10.0.0.1')], dual), added(six)]);
    expect(frontends.map((frontend) => [frontend.address, summary(frontend).chosen])).toEqual([
      ['10.96.0.1', ['10.0.0.1 active']],
      ['fd00:96::1', ['fd00::9 active']],
    ]);
  });

  test('H1: endpoints of the other family never make a frontend usable', () => {
    const compiled = compile([added(service('web', '10.96.0.1')), added(six)]);
    expect(summary(only(compiled))).toEqual({ chosen: [], excluded: ['fd00::9 other-family'], whenEmpty: 'reject' });
  });

  test('H1: clusterIPs follow ipFamilies, and a lone clusterIP is enough', () => {
    const swapped = { clusterIPs: ['fd00:96::1', '10.96.0.1'], ipFamilies: ['IPv6', 'IPv4'] };
    expect(compile([added(service('web', 'fd00:96::1', swapped))]).frontends.map(({ address }) => address)).toEqual([
      '10.96.0.1',
      'fd00:96::1',
    ]);
    expect(only(compile([added(service('web', 'fd00:96::1'))])).address).toBe('fd00:96::1');
  });

  test('H1: slices of names are ignored without a word', () => {
    const names = slice('web', [endpoint('example.com')], { addressType: 'FQDN' });
    expect(compile([added(service('web', '10.96.0.1')), added(names)]).problems).toEqual([]);
  });
});

describe('2.4 policies and topology', () => {
  const near = endpoint('10.0.0.1', { node: 'node-a', forZones: ['z1'] });
  const far = endpoint('10.0.0.2', { node: 'node-b', forZones: ['z2'] });
  const local = { internalTrafficPolicy: 'Local' };

  test('iTP Local keeps local endpoints alone, H7: local means the node of this name', () => {
    const { chosen, excluded } = summary(only(compile(web([near, far, endpoint('10.0.0.3')], local))));
    expect(chosen).toEqual(['10.0.0.1 active']);
    expect(excluded).toEqual(['10.0.0.2 not-local', '10.0.0.3 not-local']);
  });

  test('the local list falls back to local terminating endpoints although others are ready elsewhere', () => {
    const here = endpoint('10.0.0.1', { ...terminating, node: 'node-a' });
    const { chosen, excluded } = summary(only(compile(web([here, far], local))));
    expect({ chosen, excluded }).toEqual({ chosen: ['10.0.0.1 terminating'], excluded: ['10.0.0.2 not-local'] });
  });

  test.each([
    ['C2: ready elsewhere', 'drop', [far]],
    ['C2: terminating elsewhere', 'drop', [endpoint('10.0.0.2', { ...terminating, node: 'node-b' })]],
    ['C1: nobody usable', 'reject', [endpoint('10.0.0.2', { ready: false, node: 'node-b' })]],
    ['C1: nobody at all', 'reject', []],
  ])('iTP Local with an empty list, %s: %s', (_what, whenEmpty, endpoints) => {
    expect(summary(only(compile(web(endpoints, local))))).toMatchObject({ chosen: [], whenEmpty });
  });

  test.each([
    ['zone hints of all', [near, far], 'zone', ['10.0.0.1 active'], ['10.0.0.2 other-zone']],
    ['one without hints', [near, far, endpoint('10.0.0.3')], 'none', 3, []],
    ['nobody hinted to us', [far], 'none', 1, []],
    [
      'not ready ones have no say',
      [near, far, endpoint('10.0.0.3', { ready: false })],
      'zone',
      1,
      ['10.0.0.2 other-zone', '10.0.0.3 not-ready'],
    ],
    [
      'node hints before zone hints',
      [
        endpoint('10.0.0.1', { forZones: ['z1'], forNodes: ['node-b'] }),
        endpoint('10.0.0.2', { forZones: ['z2'], forNodes: ['node-a'] }),
      ],
      'node',
      ['10.0.0.2 active'],
      ['10.0.0.1 other-node'],
    ],
    [
      'node hints that name others only',
      [
        endpoint('10.0.0.1', { forZones: ['z1'], forNodes: ['node-b'] }),
        endpoint('10.0.0.2', { forZones: ['z2'], forNodes: ['node-c'] }),
      ],
      'zone',
      ['10.0.0.1 active'],
      ['10.0.0.2 other-zone'],
    ],
    ['several hints', [endpoint('10.0.0.1', { forZones: ['z2', 'z1'] })], 'zone', 1, []],
    [
      'the fallback ignores topology',
      [
        endpoint('10.0.0.1', { ...terminating, forZones: ['z2'] }),
        endpoint('10.0.0.2', { ...terminating, forZones: ['z1'] }),
      ],
      'none',
      2,
      [],
    ],
  ] as const)('topology: %s', (_what, endpoints, mode, chosen, excluded) => {
    const frontend = only(compile(web(endpoints)));
    expect(frontend.internal?.topology).toBe(mode);
    const found = summary(frontend);
    expect(typeof chosen === 'number' ? found.chosen.length : found.chosen).toEqual(chosen);
    expect(found.excluded).toEqual(excluded);
  });

  test('a node without a zone matches no zone hint, and topology can be switched off', () => {
    const events = web([near, far]);
    expect(only(compile(events, { zone: '' })).internal?.topology).toBe('none');
    expect(only(compile(web([endpoint('10.0.0.1', { forZones: [''] })]), { zone: '' })).internal?.topology).toBe(
      'none',
    );
    expect(only(compile(events, { topology: false })).internal?.topology).toBe('none');
  });

  test('topology never narrows the local list', () => {
    const frontend = only(compile(web([endpoint('10.0.0.1', { node: 'node-a', forZones: ['z2'] }), far], local)));
    expect(frontend.internal).toMatchObject({ topology: 'none', backends: [{ address: '10.0.0.1' }] });
  });

  test('the zone of the Node object replaces the configured one', () => {
    const compiled = compile([...web([near, far]), added(node('node-a', 'z2'))]);
    expect(compiled.node).toEqual({ name: 'node-a', zone: 'z2' });
    expect(summary(only(compiled)).chosen).toEqual(['10.0.0.2 active']);
  });

  test('eTP Local without an external frontend is ignored', () => {
    expect(summary(only(compile(web([far], { externalTrafficPolicy: 'Local' })))).chosen).toEqual(['10.0.0.2 active']);
  });
});

test('F1: a health check port that cannot be read is a problem, and there is no health check', () => {
  const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local' };
  const asked = (healthCheckNodePort: number): ReturnType<typeof compile> =>
    compile(web([endpoint('10.0.0.1')], { ...spec, healthCheckNodePort }));
  expect(asked(31_000).healthChecks).toHaveLength(1);
  expect(asked(0)).toMatchObject({ healthChecks: [], problems: [] });
  expect(asked(70_000)).toMatchObject({ healthChecks: [], problems: [{ field: 'spec.healthCheckNodePort' }] });
});
