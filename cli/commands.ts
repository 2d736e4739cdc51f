// SPDX-License-Identifier: Apache-2.0
/** The command line as data: every command with its arguments, options and a line of example that runs. */

/** An option as commander writes it, e.g. `-o, --output <format>`. */
export type OptionSpec = {
  readonly flags: string;
  readonly help: string;
  readonly choices?: readonly string[];
  readonly default?: string;
  /** `number`: a whole number of at least 0; anything else is a usage error. */
  readonly parse?: 'number';
  /** May be given several times; the command gets an array. */
  readonly repeatable?: true;
};

/** A positional argument: `<name>` required, `[name]` optional, `...` for the rest. */
export type ArgumentSpec = { readonly name: string; readonly help: string; readonly choices?: readonly string[] };

/** One command; `cli/<name>.ts` exports `run(args, options)` and is imported only when the command runs. */
export type CommandSpec = {
  readonly name: string;
  readonly summary: string;
  readonly arguments: readonly ArgumentSpec[];
  readonly options: readonly OptionSpec[];
  readonly examples: readonly string[];
};

/** What a command gets: its options by their camelCase names; absent ones are undefined. */
export type CommandOptions = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** The one export of a command's file: arguments and options in, the exit code out. */
export type CommandRun = (args: readonly string[], options: CommandOptions) => Promise<number>;

const yes: OptionSpec = { flags: '-y, --yes', help: 'install what is missing without asking' };
const seed: OptionSpec = { flags: '--seed <number>', help: 'repeat a run: the seed it printed', parse: 'number' };
const config: OptionSpec = { flags: '--config <file>', help: 'TandemConfiguration (YAML or JSON)' };

const nodeName: OptionSpec = {
  flags: '--node-name <name>',
  help: 'the node that is computed for (default: by --config)',
};
const compileFormats = 'json or table (default json); --watch-stream: text or ndjson; --diff: text or json';

const nodeFacts: OptionSpec = {
  flags: '--node <file>',
  help: 'node facts (node.json) of the node that was captured; may be repeated, with captures of each',
  repeatable: true,
};
const from: OptionSpec = { flags: '--from <time>', help: 'only what was opened from then on: 2026-01-02T03:04:05.6Z' };
const to: OptionSpec = { flags: '--to <time>', help: 'only what was opened until then' };

function output(...choices: readonly string[]): OptionSpec {
  const first = choices[0] ?? 'text';
  return { flags: '-o, --output <format>', help: 'how to print', choices, default: first };
}

const suites = ['unit', 'command', 'api', 'proxy', 'kernel', 'lab', 'proof'];

/** All commands that exist, in the order of `--help`. */
export const commands: readonly CommandSpec[] = [
  {
    name: 'setup',
    summary: 'bring Node 24, the modules and the system packages',
    arguments: [],
    options: [yes],
    examples: ['./tandem setup --yes'],
  },
  {
    name: 'demo',
    summary: 'two nodes and six pods on this machine, a rolling update, and both twins over what was captured (root)',
    arguments: [],
    options: [yes, seed, output('text', 'json')],
    examples: ['./tandem demo --yes'],
  },
  {
    name: 'compile',
    summary: 'manifests or event streams to what a node would serve: who can reach what, and why not',
    arguments: [
      { name: '<files...>', help: 'manifests, Lists, event streams (*.ndjson), folders of them; - is standard input' },
    ],
    options: [
      { ...config, repeatable: true },
      nodeName,
      {
        flags: '--watch-stream',
        help: 'what each event of the streams changed, in order; manifests are the beginning',
      },
      { flags: '--diff', help: 'two files or folders, A and B: what would change; --config again is that of B' },
      { flags: '--diff-config <file>', help: 'what another configuration would change' },
      { flags: '-o, --output <format>', help: compileFormats, choices: ['json', 'table', 'text', 'ndjson'] },
    ],
    examples: [
      './tandem compile fixtures/rolling-update/*.events.ndjson -o table',
      './tandem compile fixtures/rolling-update/*.events.ndjson --watch-stream',
      './tandem compile --diff fixtures/incidents/lost-delete/cluster.events.ndjson' +
        ' fixtures/incidents/dead-pod/cluster.events.ndjson',
    ],
  },
  {
    name: 'service',
    summary: 'the Services of manifests or event streams: a line each, or one in full, for people',
    arguments: [
      { name: '<action>', help: 'list, or show NAMESPACE/NAME', choices: ['list', 'show'] },
      {
        name: '<words...>',
        help: 'with show the name; then manifests, Lists, *.ndjson, folders, - for standard input',
      },
    ],
    options: [config, nodeName, output('text', 'json')],
    examples: [
      './tandem service list fixtures/outside/*.events.ndjson',
      './tandem service show shop/web-lb fixtures/outside/*.events.ndjson --node-name node1',
    ],
  },
  {
    name: 'replay',
    summary: 'a capture and event streams through both twins: what happened, and was it permitted',
    arguments: [
      {
        name: '<files...>',
        help: 'captures (pcap, pcapng), event streams (*.events.ndjson) and bundles (NAME.tandem, .tar.gz), in any order',
      },
    ],
    options: [
      config,
      nodeFacts,
      { flags: '--service <name>', help: 'tell and judge only namespace/service[:port]; everything is still run' },
      { flags: '--flow <flow>', help: 'tell and judge only this one: 10.0.0.9:4242-10.96.0.1:80/TCP' },
      from,
      to,
      {
        flags: '--without-event <line>',
        help: 'what if an event had not been heard: 16 or endpointslices:16, as reports name it',
        repeatable: true,
      },
      {
        flags: '--delay <line=ms>',
        help: 'what if an event had been heard later, with all of its kind in the meantime: 16=500',
        repeatable: true,
      },
      { flags: '--as-node <name>', help: 'what if the node had been this one' },
      {
        flags: '--algorithm <name>',
        help: 'what if backends had been chosen so, where a Service does not say itself',
        choices: ['hash', 'maglev'],
      },
      {
        flags: '--inject',
        help: "send its clients' packets into the kernel's own path in a lab, and judge what comes out (root)",
      },
      {
        flags: '--pace <name>',
        help: 'with --inject: as recorded (default), or as fast as possible',
        choices: ['recorded', 'fast'],
      },
      {
        flags: '--write <file.pcapng>',
        help: 'write the captures again, with what was found as comments and the packets as the model sends them',
      },
      {
        flags: '--emit-case <file>',
        help: 'write what the twins were fed as a case for tandem verify --case; --service and --flow make it small',
      },
      { flags: '--allow-unattributed', help: 'exit 0 although more than 1 % of the packets could not be attributed' },
      seed,
      output('text', 'json', 'ndjson'),
    ],
    examples: [
      './tandem replay fixtures/rolling-update/node1.pcap fixtures/rolling-update/*.events.ndjson' +
        ' --node fixtures/rolling-update/node1.json',
      './tandem replay fixtures/rolling-update/node?.pcap fixtures/rolling-update/*.events.ndjson' +
        ' --node fixtures/rolling-update/node1.json --node fixtures/rolling-update/node2.json',
      './tandem replay --inject --pace fast fixtures/incidents/late-slice/node1.pcap' +
        ' fixtures/incidents/late-slice/cluster.events.ndjson --node fixtures/incidents/late-slice/node1.json',
    ],
  },
  {
    name: 'trace',
    summary: 'one connection of a recording: ten questions, a verdict with its evidence, one time line',
    arguments: [
      {
        name: '<what>',
        help: 'namespace/service[:port], of which the worst connection is taken, or 10.0.0.9:4242-10.96.0.1:80/TCP',
      },
      {
        name: '<files...>',
        help: 'captures, event streams (*.events.ndjson) and bundles (NAME.tandem, .tar.gz), in any order',
      },
    ],
    options: [config, nodeFacts, from, to, seed, output('text', 'json')],
    examples: [
      './tandem trace shop/web fixtures/rolling-update/node1.pcap fixtures/rolling-update/*.events.ndjson' +
        ' --node fixtures/rolling-update/node1.json',
    ],
  },
  {
    name: 'verify',
    summary: 'random clusters and packets through both twins; any difference is reported field by field (root)',
    arguments: [
      {
        name: '[what]',
        help: 'mutants: show that planted faults are found; sequences: with agents that end, fail and find foreign rows',
        choices: ['mutants', 'sequences'],
      },
    ],
    options: [
      { flags: '--object <file>', help: 'another BPF object in place of the committed one' },
      {
        flags: '--budget <packets|time>',
        help: 'stop after so many packets or commands, or a time: 100000, 30s, 2m (default 20s)',
      },
      { flags: '--hook <name>', help: 'this hook only', choices: ['from-pod', 'to-pod', 'connect'] },
      {
        flags: '--mechanical <number>',
        help: 'with mutants: so many small changes of the programs, drawn by the seed, in place of the written faults',
        parse: 'number',
      },
      {
        flags: '--control',
        help: 'with mutants: of the control plane, found by its scenarios and laws; needs no root',
      },
      { flags: '--case <file>', help: 'the steps of a counterexample instead of random ones' },
      seed,
      output('text', 'json'),
    ],
    examples: [
      './tandem verify --budget 20s',
      './tandem verify --seed 7 --budget 100000',
      './tandem verify sequences --budget 20s',
    ],
  },
  {
    name: 'sim',
    summary: 'a cluster in virtual time under faults: the agent loop and the model unchanged, every promise watched',
    arguments: [{ name: '[seed]', help: 'a number, or the 40 digits of a commit; repeats a run' }],
    options: [
      { flags: '--nodes <number>', help: 'nodes (default 20)', parse: 'number' },
      { flags: '--services <number>', help: 'Services (default 500)', parse: 'number' },
      { flags: '--seconds <number>', help: 'simulated seconds under faults (default 60)', parse: 'number' },
      {
        flags: '--mode <name>',
        help: 'swarm: everything, by the seed; lite: crashes only; performance: no faults, always the same load',
        choices: ['swarm', 'lite', 'performance'],
      },
      { flags: '--faults <kinds>', help: 'these faults alone, one every four seconds; a wrong name lists them' },
      {
        flags: '--kernel',
        help: 'nodes run the loaded programs, and must do what the model does (root; default 2 nodes)',
      },
      { flags: '--plant <name>', help: 'plants a fault to show that it is found; a wrong name lists them' },
      { flags: '--canary <name>', help: 'the fault planted before the run; none is found in "nothing"' },
      { flags: '--quiet', help: 'no transcript' },
      output('text', 'json'),
    ],
    examples: [
      './tandem sim 7 --nodes 3 --services 10 --quiet',
      "./tandem sim 7 --nodes 2 --services 6 --plant 'a flow that moves' --quiet",
    ],
  },
  {
    name: 'bench',
    summary: 'packets per second of both twins and nanoseconds per packet, or per socket call, of the programs (root)',
    arguments: [
      {
        name: '[what]',
        help:
          'twins: packets through model and programs; sockets: calls with and without hooks;' +
          ' replay: captures read; compile: clusters to map operations, both without root (default twins)',
        choices: ['twins', 'sockets', 'replay', 'compile'],
      },
    ],
    options: [
      {
        flags: '--rounds <number>',
        help: 'how often: with sockets everything (default 61), with replay the readers (default 9), with compile all (default 7)',
        parse: 'number',
      },
      yes,
      output('text', 'json'),
    ],
    examples: ['./tandem bench twins', './tandem bench sockets', './tandem bench replay', './tandem bench compile'],
  },
  {
    name: 'lab',
    summary: 'a cluster of network namespaces: up, down, list (root)',
    arguments: [
      { name: '<action>', help: 'what to do', choices: ['up', 'down', 'list'] },
      { name: '[name]', help: 'name of the lab' },
    ],
    options: [yes, output('text', 'json')],
    examples: ['./tandem lab up demo', './tandem lab down demo'],
  },
  {
    name: 'record',
    summary: 'what an API server tells of Services and EndpointSlices, with exact times, to a file for replay',
    arguments: [],
    options: [
      { flags: '--events', help: 'record the event stream (needs a kubeconfig that may list and watch; no root)' },
      { flags: '-f, --file <file>', help: 'a new file, NAME.events.ndjson' },
      { flags: '--kubeconfig <file>', help: 'default: KUBECONFIG, ~/.kube/config, the service account of the pod' },
      { flags: '--context <name>', help: 'a context of the kubeconfig (default: its current one)' },
      { flags: '--for <time>', help: 'stop after 90s, 10m or 2h (default: Ctrl-C)' },
      { flags: '--pods', help: 'Pods too; otherwise Nodes, Services and EndpointSlices' },
      output('text', 'json'),
    ],
    examples: ['./tandem record --events -f incident.events.ndjson --for 10m'],
  },
  {
    name: 'test',
    summary: 'the test suites; without root the ones that need a kernel are skipped by name',
    arguments: [{ name: '[suites...]', help: 'only these, in this order', choices: suites }],
    options: [
      yes,
      { flags: '--full', help: 'long campaigns: ten times the budgets' },
      { flags: '--file <pattern>', help: 'only test files whose path contains this; no static checks' },
    ],
    examples: ['./tandem test unit', './tandem test lab --file rollout'],
  },
];
