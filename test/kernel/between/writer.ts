// SPDX-License-Identifier: Apache-2.0
/** A process that loads the programs and drives the agent's loop over their maps at full speed while another asks. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createLoop } from '../../../agent/loop.ts';
import { configOf } from '../../../core/datapath/datapath.ts';
import { maps, reasonNames } from '../../../core/layout.gen.ts';
import { createStream } from '../../../core/random.ts';
import { assert, failureText, type Failure } from '../../../core/result.ts';
import { loadObject, type LoadedObject } from '../../../kernel/object.ts';
import { KernelStore } from '../../../kernel/store.ts';
import { worldNode } from '../../../proof/world.ts';
import { Churn, type Asked } from './churn.ts';
import { planted, type PlantName } from './plants.ts';
import type { Orders, Seen } from './reader.ts';

/** What is asked of a run, as the writer's only argument. */
export type Wanted = Omit<Orders, 'asked'> & {
  readonly object: string;
  readonly plant: PlantName;
  readonly seed: number;
  readonly readerCpu: number;
  /** Only such frontends are asked. */
  readonly only?: Pick<Asked, 'family' | 'protocol'>;
  /** What asks: test runs of packets, or sockets. */
  readonly road: 'packets' | 'sockets';
};

/** What a run came to. */
export type Report = {
  readonly seen: Seen;
  readonly steps: number;
  /** Map writes and barriers. */
  readonly writes: number;
  readonly failures: readonly string[];
  /** Packets by the reason that the programs counted. */
  readonly reasons: Readonly<Record<string, number>>;
};

/** So small that rows, slots and ids are used again from one step to the next, often within one. */
const SIZES = { classifier: 1024, frontends: 256, services: 112, slots: 192, backends: 384, flows: 1024 };

function reasonsOf(store: KernelStore): Readonly<Record<string, number>> {
  const counters = store.entries(maps.counters);
  assert(counters.ok, 'the counters can be read');
  return Object.fromEntries(
    counters.value
      .filter(([, { packets }]) => packets > 0n)
      .map(([reason, { packets }]) => [reasonNames[reason] ?? String(reason), Number(packets)]),
  );
}

function startReader({ road, readerCpu }: Wanted, programs: LoadedObject): ChildProcess {
  const own = (file: string): string => join(import.meta.dirname, file);
  const [names, words] =
    road === 'packets'
      ? ([['tc_from_pod'], [process.execPath, own('reader.ts')]] as const)
      : ([
          ['sock_connect4', 'sock_connect6'],
          ['unshare', '--net', process.execPath, own('connecter.ts')],
        ] as const);
  return spawn('taskset', ['-c', String(readerCpu), ...words], {
    stdio: ['pipe', 'pipe', 'inherit', ...names.map((name) => programs.programFd(name))],
  });
}

async function run(wanted: Wanted): Promise<Report> {
  const flowSecret = Array.from({ length: 12 }, (_, at) => at + 77);
  const config = configOf({ flowSecret, flowBucketMask: SIZES.flows - 1, classifierMask: SIZES.classifier - 1 });
  const object = readFileSync(wanted.object);
  const loaded = loadObject({
    object,
    name: wanted.object,
    settings: config,
    maxEntries: SIZES,
    programs: ['tc_from_pod', 'sock_connect4', 'sock_connect6'],
  });
  if (!loaded.ok) throw new Error(failureText(loaded.error));
  using programs = loaded.value;
  const store = new KernelStore(programs);
  const failures: Failure[] = [];
  const loop = createLoop({
    store: planted(wanted.plant, store),
    node: worldNode,
    onProblem: (failure) => void failures.push(failure),
  });
  const churn = new Churn(createStream(wanted.seed));
  let [steps, writes] = [0, 0];
  const step = (): void => {
    writes += loop.step().done;
    steps += 1;
  };
  for (const event of churn.lists()) loop.event(event);
  step();
  const reader = startReader(wanted, programs);
  const { stdin, stdout } = reader;
  assert(stdin !== null && stdout !== null, 'both are pipes');
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const { only } = wanted;
  const asked = churn
    .asked()
    .filter((it) => only === undefined || (it.family === only.family && it.protocol === only.protocol));
  stdin.write(`${JSON.stringify({ ...wanted, asked } satisfies Orders)}\n`);
  const ready = await lines.next();
  assert(ready.value === 'ready', 'the reader begins');
  const answers: string[] = [];
  const answered = lines.next().then(({ value }) => answers.push(value ?? ''));
  while (answers.length === 0) {
    for (const event of churn.next()) loop.event(event);
    step();
    // Lets the reader's line in.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await answered;
  return {
    seen: JSON.parse(answers.join('')) as Seen,
    steps,
    writes,
    failures: failures.map(failureText),
    reasons: reasonsOf(store),
  };
}

const report = await run(JSON.parse(process.argv[2] ?? '') as Wanted);
console.log(JSON.stringify(report));
