// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copyCheckout, recording, type Answer, type Checkout } from './checkout.ts';
import { tcp } from '../replay/packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  eventLine,
  LOCAL,
  LOCAL_DEVICE,
  on,
  SERVICE,
  service,
  slice,
} from '../replay/recording.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

let checkout: Checkout;
let folder = '';

beforeAll(() => {
  checkout = copyCheckout();
  folder = checkout.folder;
});

afterAll(() => {
  checkout.remove();
});

function replay(...words: readonly string[]): Answer {
  return checkout.run('replay', ...words);
}

type Line = {
  readonly frame: number;
  readonly flow: string | null;
  readonly hook: string;
  readonly observed: { readonly verdict: string; readonly backend: string | null } | null;
  readonly kernel: unknown;
  readonly equal: unknown;
};

function linesOf({ output }: Answer): readonly Line[] {
  return output
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text) as Line);
}

function summaryOf(answer: Answer): Readonly<Record<string, unknown>> {
  return linesOf(answer).at(-1) as unknown as Readonly<Record<string, unknown>>;
}

describe('captures of two nodes', () => {
  const both = [...recording('rolling-update', 'node1'), ...recording('rolling-update', 'node2')];
  const words = both.filter((word, index) => word === '--node' || both.indexOf(word) === index);

  test('are told node by node, each as it would be alone, with the difference of the clocks', () => {
    const answer = replay(...words, '-o', 'ndjson');
    const summaries = linesOf(answer).filter((line) => 'kind' in line) as unknown as Record<string, unknown>[];
    expect(summaries.map(({ node }) => node)).toEqual(['node1', 'node2']);
    const alone = ['node1', 'node2'].map((name) =>
      summaryOf(replay(...recording('rolling-update', name), '-o', 'ndjson')),
    );
    for (const [index, summary] of summaries.entries()) {
      for (const field of ['packets', 'inputs', 'connections', 'blame', 'noInput', 'otherSightings', 'replies'])
        expect(summary[field], field).toEqual(alone[index]?.[field]);
    }
    expect(summaries[0]?.['clocks']).toMatchObject([{ node: 'node2', there: 708, back: 472 }]);
    const text = replay(...words).output;
    expect(text).toMatch(
      /^ {2}node2: its clock is 0\.000 ms (ahead|behind), give or take 0\.\d{3} ms \(708 packets there/m,
    );
  });

  test('show in a trace where a packet went on the other node', () => {
    const lines = linesOf(replay(...words, '-o', 'ndjson'));
    const far = lines.find(({ observed }) => observed?.backend?.startsWith('10.244.2.'));
    const { code, output } = checkout.run('trace', far?.flow ?? '', ...words);
    expect(code).toBe(0);
    expect(output).toMatch(/ on node2 ifindex 3, frame \d+ after \d+ µs/);
  });

  test('make no single document, file or case', () => {
    for (const option of [
      ['-o', 'json'],
      ['--write', 'x.pcapng'],
      ['--emit-case', 'x.json'],
      ['--as-node', 'node2'],
    ]) {
      const { code, notes } = replay(...words, ...option);
      expect(code).toBe(2);
      expect(notes).toContain('is of one node, not of node1, node2; give the --node and the captures of one');
    }
  });
});

describe('without kernel/ and koffi, as a normal user', () => {
  test('the copy really lacks them', () => {
    expect(existsSync(join(folder, 'kernel'))).toBe(false);
    expect(existsSync(join(folder, 'node_modules/koffi'))).toBe(false);
  });

  // Regenerate with the command that is the last line of each, without its -o ndjson, as a normal user.
  test.each([
    ['rolling-update', 'node1', 3],
    ['rolling-update', 'node2', 0],
    ['no-endpoints', 'node1', 3],
    ['no-endpoints', 'node2', 0],
    ['udp-stale', 'node1', 0],
    ['udp-stale', 'node2', 0],
    ['affinity', 'node1', 0],
    ['affinity', 'node2', 0],
    ['outside', 'node1', 0],
    ['outside', 'node2', 0],
    ['outside-iptables', 'node1', 0],
    ['outside-iptables', 'node2', 0],
  ])('%s on %s is judged as written down', (name, host, code) => {
    const answer = replay(...recording(name, host));
    expect(answer.notes).toBe('');
    expect(answer.output).toBe(readFileSync(join(root, `test/replay/${name}-${host}.expected.txt`), 'utf8'));
    expect(answer.code).toBe(code);
  });

  test('each connection went to the pod whose name its client printed', () => {
    const answer = replay(...recording('rolling-update', 'node1'), '-o', 'ndjson');
    const opened = connectionsOf(linesOf(answer));
    const printed = readFileSync(join(root, 'fixtures/rolling-update/client1.log'), 'utf8').trimEnd().split('\n');
    const pods = podNames('rolling-update');
    expect(opened).toHaveLength(printed.length);
    const observed = opened.flatMap(({ observed: seen }, index) => {
      const [, pod] =
        [...pods].find(([address]) => seen?.backend === `${address}:8080` || seen?.backend === `[${address}]:8080`) ??
        [];
      return pod === printed[index] ? [] : [`${index}: ${pod} and not ${printed[index]}`];
    });
    expect(observed).toEqual([]);
    expect(summaryOf(answer)).toMatchObject({
      connections: { total: printed.length, answered: printed.length, notJudged: 0 },
      unsupported: {},
    });
    const isIPv6 = ({ flow }: Line): boolean => flow?.startsWith('[') === true;
    expect(opened.map(isIPv6)).toEqual(printed.map((_line, index) => index % 2 === 1));
  });

  test('as many connections were answered, refused and lost as their client printed', () => {
    const printed = readFileSync(join(root, 'fixtures/no-endpoints/client1.log'), 'utf8').trimEnd().split('\n');
    const good = printed.filter((line) => line.startsWith('200')).length;
    const { connections } = summaryOf(replay(...recording('no-endpoints', 'node1'), '-o', 'ndjson'));
    expect(connections).toMatchObject({ total: printed.length, answered: good });
    const failed = printed.filter((line) => line.startsWith('000 Failed')).length;
    expect(connections).toMatchObject({ none: printed.length - good - failed });
  });

  test('as many datagrams were answered, by the pod whose name its client printed', () => {
    const printed =
      readFileSync(join(root, 'fixtures/udp-stale/client1.log'), 'utf8').match(/web-84ffd9f65d-.{5}/g) ?? [];
    const answer = replay(...recording('udp-stale', 'node1'), '-o', 'ndjson');
    const answers = linesOf(answer).filter(({ flow, hook, observed }) => {
      return flow?.endsWith('/UDP') === true && hook === 'to-pod' && observed?.verdict === 'reply';
    });
    const pods = podNames('udp-stale');
    const names = answers.map(({ observed }) => pods.get(observed?.backend?.replace(':8081', '') ?? ''));
    // The last is an error of the pod itself, after which the client ended.
    expect(names.slice(0, -1)).toEqual(printed);
    expect(summaryOf(answer)).toMatchObject({
      datagrams: { flows: 1, sent: printed.length + 1, judged: printed.length + 1, notPermitted: 0 },
      replies: { reproduced: printed.length + 1, differing: 0 },
    });
  });

  test.each(['node1', 'node2'])(
    'the client on %s was kept on its backend, and moved only where it was free to, as its log shows',
    (host) => {
      const printed = readFileSync(join(root, 'fixtures/affinity/clients.log'), 'utf8').trimEnd().split('\n');
      const mine = printed
        .filter((line) => line.endsWith(host.replace('node', ' client')))
        .map((line) => line.split(' ')[0]);
      const answer = replay(...recording('affinity', host), '-o', 'ndjson');
      const pods = podNames('affinity');
      const opened = connectionsOf(linesOf(answer));
      expect(opened.map(({ observed }) => pods.get(observed?.backend?.replace(':8080', '') ?? ''))).toEqual(mine);
      // The log shows where it went elsewhere: each time its client was free.
      const changes = mine.filter((pod, index) => index === 0 || pod !== mine[index - 1]).length;
      expect(summaryOf(answer)).toMatchObject({ affinity: { kept: mine.length - changes, notKept: 0 } });
      expect(changes).toBe(host === 'node1' ? 3 : 2);
    },
  );

  test.each([
    ['outside', 'node1'],
    ['outside', 'node2'],
    ['outside-iptables', 'node1'],
    ['outside-iptables', 'node2'],
  ])('%s on %s: what pods asked NodePorts and a LoadBalancer for is counted as its client printed it', (name, host) => {
    const printed = readFileSync(join(root, `fixtures/${name}/clients.log`), 'utf8')
      .trimEnd()
      .split('\n');
    // Each client of the two asked three addresses in turn; only its LoadBalancer shows it with its own.
    const own = printed.filter((line) => line.startsWith(host === 'node1' ? '10.244.1.4:' : '10.244.2.4:')).length;
    const { blame, connections, unsupported } = summaryOf(replay(...recording(name, host), '-o', 'ndjson'));
    expect(blame).toBe('not-judged');
    expect(connections).toMatchObject({ total: printed.length / 2, notJudged: printed.length / 2 });
    expect(unsupported).toMatchObject({
      LoadBalancer: { connections: own },
      NodePort: { connections: printed.length / 2 - own },
    });
  });

  test('the last line says plainly that nothing was compared', () => {
    const answer = replay(...recording('no-endpoints', 'node1'), '-o', 'ndjson');
    expect(summaryOf(answer)).toMatchObject({
      kind: 'ReplaySummary',
      grade: 'reconstructed',
      comparedWithKernel: 0,
      kernel: 'not root',
      object: null,
    });
    expect(
      linesOf(answer)
        .slice(0, -1)
        .every(({ kernel, equal }) => kernel === null && equal === null),
    ).toBe(true);
  });

  test('one document holds the same as the lines', () => {
    const { output } = replay(...recording('no-endpoints', 'node2'), '-o', 'json');
    const lines = linesOf(replay(...recording('no-endpoints', 'node2'), '-o', 'ndjson'));
    expect(JSON.parse(output)).toEqual({ packets: lines.slice(0, -1), summary: lines.at(-1) });
  });

  test('the seed decides the choices of the model and nothing that was observed', () => {
    const [first, second] = ['1', '2'].map((seed) =>
      linesOf(replay(...recording('no-endpoints', 'node1'), '--seed', seed, '-o', 'ndjson')),
    );
    const backends = (lines: readonly Line[] = []): unknown[] =>
      lines.map((line) => (line as unknown as { model?: { backend: unknown } }).model?.backend);
    expect(backends(first)).not.toEqual(backends(second));
    expect(first?.map(({ observed }) => observed)).toEqual(second?.map(({ observed }) => observed));
  });

  test('without node facts the devices are found out from the packets', () => {
    const path = join(folder, 'config.yaml');
    writeFileSync(path, 'apiVersion: tandem/v1alpha1\nkind: TandemConfiguration\nnodeName: node1\n');
    const [capture = '', ...rest] = recording('no-endpoints', 'node1').slice(0, 4);
    const { connections, inferredDevices, unattributed } = summaryOf(
      replay(capture, ...rest, '--config', 'config.yaml', '-o', 'ndjson'),
    );
    expect({ inferredDevices, unattributed }).toEqual({ inferredDevices: 6, unattributed: 0 });
    expect(connections).toMatchObject({ total: 60, answered: 46, refused: 11, stale: 3 });
  });
});

describe('the settings of the node', () => {
  const ask = (from: string, to: string, sequence: number): Uint8Array =>
    tcp({ from, to, flags: 'S', sequence, identification: sequence });
  const header = 'apiVersion: tandem/v1alpha1\nkind: TandemConfiguration\nnodeName: node1\n';
  const ours = 'nodeIPs: [10.88.0.11]\nclusterCIDRs: [10.244.0.0/16]\n';

  function replayByHand(config: string): Answer {
    const { bytes } = captureOf([
      on(100, CLIENT_DEVICE, 'incoming', ask(`${CLIENT}:4242`, '10.96.7.7:80', 5)),
      on(200, LOCAL_DEVICE, 'incoming', ask(`${LOCAL}:4243`, `${SERVICE}:80`, 6)),
      on(
        200.1,
        LOCAL_DEVICE,
        'outgoing',
        tcp({ from: '10.244.1.1:999', to: `${LOCAL}:8080`, flags: 'S', sequence: 6, identification: 6, hops: 63 }),
      ),
    ]);
    const node = { kind: 'Node', metadata: { name: 'node1' }, spec: { podCIDRs: ['10.244.1.0/24'] } };
    const events = [node, service, slice([LOCAL])].map((object) => eventLine(0, 'ADDED', object));
    writeFileSync(join(folder, 'hand.pcap'), bytes);
    writeFileSync(join(folder, 'hand.events.ndjson'), `${events.join('\n')}\n`);
    writeFileSync(join(folder, 'hand.yaml'), header + config);
    return replay('hand.pcap', 'hand.events.ndjson', '--config', 'hand.yaml', '-o', 'ndjson');
  }

  const modelOf = (answer: Answer): unknown[] =>
    linesOf(answer)
      .slice(0, -1)
      .map((line) => (line as unknown as { model: { verdict: string; reason: string } }).model)
      .map(({ reason, verdict }) => `${verdict} ${reason}`);

  test('decide what addresses of no Service and pods that are their own backends get', () => {
    const answer = replayByHand(`${ours}serviceCIDRs: [10.96.0.0/16]\n`);
    expect(modelOf(answer)).toEqual(['drop unallocated', 'forward hairpin']);
    expect(summaryOf(answer)).toMatchObject({
      blame: 'neither',
      connections: { total: 2, permitted: 2, notJudged: 0 },
      modelNotPermitted: 0,
    });
    expect(answer.code).toBe(0);
  });

  test('are those of the configuration: without them neither is known', () => {
    const answer = replayByHand('clusterCIDRs: [10.244.0.0/16]\n');
    expect(modelOf(answer)).toEqual(['pass not-service', 'drop hairpin']);
    expect(summaryOf(answer)).toMatchObject({ unsupported: { hairpin: { connections: 1 } } });
  });

  test('that no program holds end with 2 and one line before anything runs', () => {
    const ranges = Array.from({ length: 5 }, (_, index) => `10.${96 + index}.0.0/16`).join(', ');
    const { code, notes, output } = replayByHand(`${ours}serviceCIDRs: [${ranges}]\n`);
    expect({ code, output }).toEqual({ code: 2, output: '' });
    expect(notes).toBe(
      `tandem: serviceCIDRs: 5 IPv4 ranges, the programs hold 4: ${ranges}; join ranges that lie side by side\n`,
    );
  });
});

function connectionsOf(lines: readonly Line[]): readonly Line[] {
  const seen = new Set<string>();
  return lines.filter(({ flow, hook, observed }) => {
    if (hook !== 'from-pod' || flow === null || observed?.verdict !== 'forward' || seen.has(flow)) return false;
    seen.add(flow);
    return true;
  });
}

/** Addresses of pods to their names, from the slices themselves. */
function podNames(name: string): ReadonlyMap<string, string> {
  const text = readFileSync(join(root, `fixtures/${name}/endpointslices.events.ndjson`), 'utf8');
  type Slice = { endpoints?: { addresses: string[]; targetRef?: { name: string } }[] };
  const names = new Map<string, string>();
  for (const line of text.trimEnd().split('\n')) {
    for (const { addresses, targetRef } of (JSON.parse(line) as { object: Slice }).object.endpoints ?? []) {
      if (targetRef !== undefined) names.set(addresses[0] ?? '', targetRef.name);
    }
  }
  return names;
}

describe('bad input', () => {
  test.each([
    ['no capture', ['fixtures/no-endpoints/nodes.events.ndjson'], 'tandem: replay: no capture among the files'],
    ['no events', ['fixtures/no-endpoints/node1.pcap'], 'tandem: replay: no event stream among the files'],
    [
      'a file that is not there',
      [...recording('no-endpoints', 'node9').slice(0, 4), '--node', 'fixtures/no-endpoints/node1.json'],
      'tandem: fixtures/no-endpoints/node9.pcap: cannot be opened: ENOENT',
    ],
    [
      'facts that are none',
      [...recording('no-endpoints', 'node1').slice(0, 4), '--node', 'fixtures/no-endpoints/manifests.yaml'],
      'tandem: fixtures/no-endpoints/manifests.yaml',
    ],
    [
      'nothing about the node',
      recording('no-endpoints', 'node1').slice(0, 4),
      'tandem: node: nothing says which node was captured',
    ],
    [
      'an event stream that is not there, and nothing about the node',
      [...recording('no-endpoints', 'node1').slice(0, 1), 'none.events.ndjson'],
      'tandem: none.events.ndjson: cannot be opened: ENOENT',
    ],
  ])('%s ends with 2 and one line', (_what, words, line) => {
    const { code, notes } = replay(...words);
    expect(code).toBe(2);
    expect(notes.trimEnd().split('\n')).toEqual([expect.stringContaining(line)]);
  });

  test('a capture that ends in the middle is judged up to there, and ends with 2', () => {
    const [capture = '', ...rest] = recording('no-endpoints', 'node1');
    writeFileSync(join(folder, 'cut.pcap'), readFileSync(join(root, capture)).subarray(0, 100_001));
    const { code, notes, output } = replay('cut.pcap', ...rest);
    expect(code).toBe(2);
    expect(notes).toMatch(/^tandem: cut\.pcap offset \d+: the file is cut inside frame \d+/);
    expect(output).toMatch(/answered [1-9]/);
  });

  test('an event line that is not JSON ends with 2, and what came before is judged', () => {
    const events = 'fixtures/no-endpoints/endpointslices.events.ndjson';
    const lines = readFileSync(join(root, events), 'utf8').split('\n');
    writeFileSync(join(folder, 'bad.events.ndjson'), [...lines.slice(0, 30), '{"at":', ...lines.slice(30)].join('\n'));
    const words = recording('no-endpoints', 'node1').map((word) => (word === events ? 'bad.events.ndjson' : word));
    const { code, notes, output } = replay(...words);
    expect(code).toBe(2);
    expect(notes).toContain('tandem: bad.events.ndjson line 31: not JSON');
    expect(output).toMatch(/events-incomplete\s+\d+ connections/);
    expect(output).toMatch(/answered [1-9]/);
  });
});
