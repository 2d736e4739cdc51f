// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { flowText } from '../../replay/headers.ts';
import { filterTally, isLineWanted, nothingMatches, parseFilter, parseFlow, type Filter } from '../../replay/filter.ts';
import { summarize } from '../../replay/summary.ts';
import { failureText } from '../../core/result.ts';
import { cluster, connection, eventLine, exchange, LOCAL, REMOTE, replayFrames, setting, slice } from './recording.ts';

const nothing = { service: undefined, flow: undefined, from: undefined, to: undefined };

function filterOf(words: Partial<Record<keyof Filter, string>>): Filter {
  const filter = parseFilter({ ...nothing, ...words });
  if (!filter.ok) throw new Error(failureText(filter.error));
  return filter.value;
}

/** Two connections and a flow of datagrams; the second connection is late. */
const streams = cluster([LOCAL], eventLine(1000, 'MODIFIED', slice([REMOTE])));
const recorded = replayFrames(
  [...connection(100, 4001, LOCAL), ...connection(1500, 4002, LOCAL), ...exchange(1700, REMOTE)],
  streams,
);

function flowsOf(filter: Filter): readonly string[] {
  return filterTally(recorded.tally, filter).connections.map(({ flow }) => flow);
}

describe('a flow', () => {
  test.each([
    '10.244.1.4:4001>10.96.0.10:80/TCP',
    '10.244.1.4:4001->10.96.0.10:80/tcp',
    '10.244.1.4:4001-10.96.0.10:80',
    '10.244.1.4:4001, 10.96.0.10:80',
    '10.244.1.4:4001 10.96.0.10:80',
  ])('may be written as %s', (word) => {
    const flow = parseFlow(word);
    expect(flow.ok && flowText(flow.value)).toBe('10.244.1.4:4001>10.96.0.10:80/TCP');
  });

  test('of IPv6 has brackets', () => {
    const flow = parseFlow('[fd00::4]:4001-[fd00:10:96::a]:53/UDP');
    expect(flow.ok && flowText(flow.value)).toBe('[fd00::4]:4001>[fd00:10:96::a]:53/UDP');
  });

  test.each(['10.244.1.4>10.96.0.10:80', '10.244.1.4:99999>10.96.0.10:80', '10.244.1.4:1>10.96.0.10:80/GRE', 'x', ''])(
    'is not %j, and the message says how to write one',
    (word) => {
      const flow = parseFlow(word);
      expect(flow.ok ? '' : failureText(flow.error)).toMatch(/^flow .*: not two ends and a protocol; write 10\./);
    },
  );

  test('is found as its client, as its backend and as its answers name it', () => {
    const own = ['10.244.1.4:4001>10.96.0.10:80/TCP'];
    expect(flowsOf(filterOf({ flow: '10.244.1.4:4001-10.96.0.10:80' }))).toEqual(own);
    expect(flowsOf(filterOf({ flow: '10.244.1.4:4001-10.244.1.9:8080' }))).toEqual(own);
    expect(flowsOf(filterOf({ flow: '10.96.0.10:80-10.244.1.4:4001' }))).toEqual(own);
  });
});

describe('a Service', () => {
  test('is named with or without its port, by name or number', () => {
    expect(flowsOf(filterOf({ service: 'shop/web' }))).toHaveLength(3);
    expect(flowsOf(filterOf({ service: 'shop/web:http' }))).toHaveLength(2);
    expect(flowsOf(filterOf({ service: 'shop/web:80' }))).toHaveLength(2);
    expect(flowsOf(filterOf({ service: 'shop/web:53' }))).toHaveLength(1);
    expect(flowsOf(filterOf({ service: 'shop/we' }))).toEqual([]);
  });

  test('that does not exist is answered with the nearest, and with those that were asked for', () => {
    const failed = nothingMatches(filterOf({ service: 'shop/wbe' }), recorded.tally, streams.events);
    expect(failed.ok ? '' : failureText(failed.error)).toBe(
      '--service shop/wbe: the events tell of no such Service (did you mean shop/web?); there are shop/web:dns, shop/web:http',
    );
  });

  test('of which nothing was asked is told from one that does not exist', () => {
    const failed = nothingMatches(filterOf({ service: 'shop/web:9' }), recorded.tally, streams.events);
    expect(failed.ok ? '' : failureText(failed.error)).toContain('no pod of this node asked for it');
  });

  test('must have a namespace', () => {
    expect(parseFilter({ ...nothing, service: 'web' }).ok).toBe(false);
  });
});

describe('a time', () => {
  test('is that of the opening, both ends included', () => {
    expect(flowsOf(filterOf({ from: '2026-01-02T03:04:06.5Z' }))).toHaveLength(2);
    expect(flowsOf(filterOf({ from: '2026-01-02T03:04:06.5Z', to: '2026-01-02T03:04:06.5Z' }))).toHaveLength(1);
    expect(flowsOf(filterOf({ to: '2026-01-02T03:04:05.2Z' }))).toHaveLength(1);
  });

  test('outside of the recording is answered with what there is', () => {
    const filter = filterOf({ from: '2030-01-01T00:00:00Z' });
    expect(flowsOf(filter)).toEqual([]);
    const failed = nothingMatches(filter, recorded.tally, streams.events);
    expect(failed.ok ? '' : failureText(failed.error)).toContain(
      'from 2026-01-02T03:04:05.100Z to 2026-01-02T03:04:06.700Z',
    );
  });

  test('must be one', () => {
    const failed = parseFilter({ ...nothing, from: 'yesterday' });
    expect(failed.ok ? '' : failureText(failed.error)).toContain('write it as 2026-01-02T03:04:05.678Z');
  });
});

test('what is not asked for is judged no more, and the packets are still those of the whole recording', () => {
  const all = summarize(recorded.tally, setting);
  const first = summarize(filterTally(recorded.tally, filterOf({ to: '2026-01-02T03:04:06Z' })), setting);
  expect(all).toMatchObject({ blame: 'control-plane-late', notPermitted: 1 });
  expect(first).toMatchObject({ blame: 'neither', notPermitted: 0, packets: all.packets, inputs: all.inputs });
});

test('lines of other flows are not told', () => {
  const filter = filterOf({ flow: '10.244.1.4:4001-10.96.0.10:80' });
  const told = recorded.lines.filter((line) => isLineWanted(line, filter));
  expect(new Set(told.map(({ flow }) => flow))).toEqual(new Set(['10.244.1.4:4001>10.96.0.10:80/TCP']));
  expect(told.length).toBeGreaterThan(3);
  expect(recorded.lines.filter((line) => isLineWanted(line, filterOf({ service: 'shop/web:53' })))).toHaveLength(2);
});
