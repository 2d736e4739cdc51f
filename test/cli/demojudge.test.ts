// SPDX-License-Identifier: Apache-2.0
/** The judge of the demo: which ends of connections and datagrams it lets pass, and which it does not. */
import { describe, expect, test } from 'vitest';
import { countAsked, type Asked } from '../../cli/demo/askers.ts';
import { families } from '../../cli/demo/stream.ts';
import type { Call, Visit } from '../../cli/demo/visitors.ts';
import { judge, pods, visitOf, type VisitOptions } from './demovisits.ts';

type DatagramOptions = VisitOptions & {
  readonly kept?: string;
  readonly call?: Call;
  readonly isEnded?: boolean;
};

describe('the judge', () => {
  // web: web2 comes at 1000 ms, web1 goes at 1300 ms; nightly has no endpoint from 1500 to 3100 ms.
  test.each([
    { what: 'a backend of the moment', by: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'a backend that comes later', by: 'web2', atMs: 900, verdict: 'wrong' },
    { what: 'a backend that has just come', by: 'web2', atMs: 1_001, verdict: 'permitted' },
    { what: 'a backend that is just going', by: 'web1', atMs: 1_305, verdict: 'in-flight' },
    { what: 'a backend that went before the window', by: 'web1', atMs: 1_320, verdict: 'wrong' },
    { what: 'another Service’s backend', to: 'shop/near:http', by: 'web1', verdict: 'wrong' },
    { what: 'the backend of this node', to: 'shop/near:http', by: 'web2', verdict: 'permitted' },
    { what: 'the backend of the other node', to: 'shop/near:http', by: 'web4', verdict: 'wrong' },
    { what: 'a refusal without endpoints', to: 'shop/empty:http', by: 'refused', verdict: 'permitted' },
    { what: 'a refusal with endpoints', by: 'refused', verdict: 'wrong' },
    { what: 'a refusal of a port that is nobody’s', to: 'shop/web, no such port', by: 'refused', verdict: 'permitted' },
    { what: 'silence in place of a refusal', to: 'shop/empty:http', by: 'timeout', verdict: 'wrong' },
    { what: 'a reset', by: 'reset', verdict: 'wrong' },
    { what: 'a lost client', by: 'lost', verdict: 'wrong' },
    { what: 'an IPv6 backend of the moment', family: 'IPv6', by: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'an IPv6 backend that comes 5 ms later', family: 'IPv6', by: 'web2', atMs: 980, verdict: 'wrong' },
    { what: 'an IPv6 backend that is just going', family: 'IPv6', by: 'web1', atMs: 1_310, verdict: 'in-flight' },
    { what: 'an IPv6 backend that went', family: 'IPv6', by: 'web1', atMs: 1_325, verdict: 'wrong' },
    {
      what: 'an IPv6 refusal without endpoints',
      to: 'shop/empty:http',
      family: 'IPv6',
      by: 'refused',
      verdict: 'permitted',
    },
    { what: 'an IPv6 refusal with endpoints', family: 'IPv6', by: 'refused', verdict: 'wrong' },
    {
      what: 'a refusal while there are no endpoints',
      to: 'shop/nightly:http',
      by: 'refused',
      atMs: 2_000,
      verdict: 'permitted',
    },
    {
      what: 'an answer while there are no endpoints',
      to: 'shop/nightly:http',
      by: 'web1',
      atMs: 2_000,
      verdict: 'wrong',
    },
  ] as const)('calls $what $verdict', ({ verdict, what, ...options }) => {
    expect(judge.judge(visitOf(options)).verdict, what).toBe(verdict);
  });

  test.each([
    { report: { peerName: '10.244.1.4:8080' }, why: 'getpeername says 10.244.1.4:8080, not 10.96.0.10:80' },
    { report: { peerSeen: '10.244.1.1:20000' }, why: 'the server saw 10.244.1.1:20000, not 10.244.1.6:20000' },
    { report: { by: 'web2' }, why: 'web2 has not 10.244.1.4:8080' },
    { report: { result: 'reset' }, why: 'connection ended as reset' },
    {
      family: 'IPv6',
      report: { peerName: '[fd00:10:244:1::4]:8080' },
      why: 'getpeername says [fd00:10:244:1::4]:8080, not [fd00:10:96::10]:80',
    },
    {
      family: 'IPv6',
      report: { peerSeen: '[fd00:88::11]:20000' },
      why: 'the server saw [fd00:88::11]:20000, not [fd00:10:244:1::6]:20000',
    },
    { family: 'IPv6', report: { by: 'web2' }, why: 'web2 has not [fd00:10:244:1::4]:8080' },
  ] as const)('does not let pass: $why', ({ why, ...options }) => {
    expect(judge.judge(visitOf(options))).toMatchObject({ verdict: 'wrong', why });
  });
});

describe('the judge of datagrams', () => {
  // dns: web1 terminates from 1150 ms, is gone at 1600 ms; web2 comes at 1150 ms; web4 comes at 2000 ms; web2 goes at 4200 ms without terminating.
  const datagram = (options: DatagramOptions): Visit => {
    const { kept, call = 'unconnected', isEnded = false, family = 'IPv4', report = {}, ...rest } = options;
    const one = visitOf({ to: 'shop/dns:dns', family, ...rest });
    const as = (pod: string): string => `${pods[family][pod]?.replace(/8080$/, '')}8053`;
    const answeredAs = one.report.by === null ? null : as(one.report.by);
    const before = kept === undefined ? null : { ...one.report, by: kept, answeredAs: as(kept) };
    const ended = isEnded ? ({ result: 'error', errno: 'ECONNABORTED', by: null, answeredAs: null } as const) : {};
    return {
      ...one,
      call,
      before,
      isEnded,
      report: { ...one.report, answeredAs, connectedNs: null, ...ended, ...report },
    };
  };

  test.each<DatagramOptions & { what: string; verdict: string }>([
    { what: 'the first to a backend of the moment', by: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'the next one to the same', by: 'web1', kept: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'the next one to another though the first serves', by: 'web3', kept: 'web1', atMs: 300, verdict: 'wrong' },
    { what: 'the first to one that terminates', by: 'web1', atMs: 1_300, verdict: 'wrong' },
    { what: 'the next to one that terminates', by: 'web1', kept: 'web1', atMs: 1_300, verdict: 'permitted' },
    { what: 'the next to one that is just going', by: 'web1', kept: 'web1', atMs: 1_605, verdict: 'in-flight' },
    { what: 'the next to one that is gone', by: 'web1', kept: 'web1', atMs: 1_700, verdict: 'wrong' },
    { what: 'the next to a live one', by: 'web3', kept: 'web1', atMs: 1_700, verdict: 'permitted' },
    { what: 'silence', by: 'timeout', kept: 'web1', atMs: 1_700, verdict: 'wrong' },
    {
      what: 'the end of a socket whose backend is gone',
      isEnded: true,
      kept: 'web1',
      atMs: 1_700,
      verdict: 'permitted',
    },
    { what: 'the end of one whose backend terminates', isEnded: true, kept: 'web1', atMs: 1_300, verdict: 'wrong' },
    { what: 'the end of one that serves', isEnded: true, kept: 'web3', atMs: 1_700, verdict: 'wrong' },
    { what: 'the end of a new one while a backend goes', isEnded: true, atMs: 4_202, verdict: 'in-flight' },
    { what: 'the end of a new one while nothing happens', isEnded: true, atMs: 1_900, verdict: 'wrong' },
  ])('calls $what $verdict, in both families', ({ verdict, what, ...options }) => {
    for (const family of families) {
      const atMs = (options.atMs ?? 0) + (family === 'IPv6' ? 5 : 0);
      expect(judge.judge(datagram({ ...options, call: 'connected', family, atMs })).verdict, what).toBe(verdict);
    }
  });

  test('does not let pass an answer that shows the backend', () => {
    const shown = datagram({ by: 'web1', report: { peerName: '10.244.1.4:8053' } });
    const why = 'recvfrom says 10.244.1.4:8053, not 10.96.0.53:53';
    expect(judge.judge(shown)).toMatchObject({ verdict: 'wrong', why });
  });

  test('counts who was ended, who reconnected, and who moved in silence', () => {
    const connected = [
      datagram({ by: 'web1', call: 'connected' }),
      datagram({ kept: 'web1', isEnded: true, call: 'connected' }),
      datagram({ by: 'web3', call: 'connected' }),
    ];
    const unconnected = [datagram({ by: 'web1' }), datagram({ by: 'web1', kept: 'web1' }), datagram({ by: 'web3' })];
    const asked: readonly Asked[] = [
      { call: 'connected', visits: connected },
      { call: 'unconnected', visits: unconnected },
    ];
    expect(countAsked(asked)).toEqual({ sockets: 2, datagrams: 6, ended: 1, reconnected: 1, moved: 1 });
  });
});
