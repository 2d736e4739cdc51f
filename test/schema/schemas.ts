// SPDX-License-Identifier: Apache-2.0
/** Every JSON Schema of docs/schema that is made of a shape, by the name of its file. */
import * as z from 'zod';

import { configurationShape } from '../../formats/config.ts';
import { nodeFactsShape } from '../../formats/node.ts';
import { benchSockets, benchTwins } from './benchshapes.ts';
import { changesLine, compiledDifference, compiledService, compiledServiceList } from './compileshapes.ts';
import { eventLine } from './eventshapes.ts';
import { injectionDocument, injectionLine } from './injectshapes.ts';
import { packetLine, recording, replayDocument, replaySummary, trace, whatIf } from './replayshapes.ts';
import { simReport, verifyCase, verifyDocument } from './verifyshapes.ts';

export type SchemaName =
  | 'configuration'
  | 'node-facts'
  | 'event-line'
  | 'changes-line'
  | 'compiled-difference'
  | 'compiled-service'
  | 'compiled-service-list'
  | 'replay'
  | 'replay-line'
  | 'injection'
  | 'injection-line'
  | 'trace'
  | 'what-if'
  | 'recording'
  | 'verify'
  | 'verify-case'
  | 'sim-report'
  | 'bench-twins'
  | 'bench-sockets';

type Described = { readonly shape: z.ZodType; readonly title: string; readonly description: string };

export const described: Readonly<Record<SchemaName, Described>> = {
  configuration: {
    shape: configurationShape,
    title: 'TandemConfiguration',
    description: 'The configuration file, in YAML or JSON. Addresses and ranges are checked beyond this schema.',
  },
  'node-facts': {
    shape: nodeFactsShape,
    title: 'Node facts',
    description: 'node.json: what is known of a captured node. Keys are those of `ip -json`; others are ignored.',
  },
  'event-line': {
    shape: eventLine,
    title: 'Event line',
    description: 'One line of an event stream (*.events.ndjson). STREAM stands on the first line alone.',
  },
  'changes-line': {
    shape: changesLine,
    title: 'Changes line',
    description:
      'A line of `tandem compile --watch-stream -o ndjson`: events that changed something, then the summary.',
  },
  'compiled-difference': {
    shape: compiledDifference,
    title: 'CompiledDifference',
    description: 'What `tandem compile --diff -o json` prints.',
  },
  'compiled-service': {
    shape: compiledService,
    title: 'CompiledService',
    description: 'What `tandem service show -o json` prints.',
  },
  'compiled-service-list': {
    shape: compiledServiceList,
    title: 'CompiledServiceList',
    description: 'What `tandem service list -o json` prints.',
  },
  replay: { shape: replayDocument, title: 'Replay', description: 'What `tandem replay -o json` prints.' },
  'replay-line': {
    shape: z.union([packetLine, replaySummary]),
    title: 'Replay line',
    description: 'A line of `tandem replay -o ndjson`: packets at hooks, then the summary.',
  },
  injection: {
    shape: injectionDocument,
    title: 'Injection',
    description: 'What `tandem replay --inject -o json` prints.',
  },
  'injection-line': {
    shape: injectionLine,
    title: 'Injection line',
    description: 'A line of `tandem replay --inject -o ndjson`: packets that were sent, then the summary.',
  },
  trace: { shape: trace, title: 'Trace', description: 'What `tandem trace -o json` prints.' },
  'what-if': {
    shape: whatIf,
    title: 'WhatIf',
    description: 'What `tandem replay -o json` prints with --without-event, --delay or --as-node.',
  },
  recording: { shape: recording, title: 'Recording', description: 'What `tandem record -o json` prints at its end.' },
  verify: {
    shape: verifyDocument,
    title: 'Verify',
    description: 'What `tandem verify -o json` prints: a VerifySummary where the twins agree, else a VerifyFinding.',
  },
  'verify-case': {
    shape: verifyCase,
    title: 'VerifyCase',
    description: 'A counterexample that stands alone: `tandem verify --case FILE` runs it.',
  },
  'sim-report': { shape: simReport, title: 'SimReport', description: 'What `tandem sim -o json` prints.' },
  'bench-twins': { shape: benchTwins, title: 'BenchTwins', description: 'What `tandem bench twins -o json` prints.' },
  'bench-sockets': {
    shape: benchSockets,
    title: 'BenchSockets',
    description: 'What `tandem bench sockets -o json` prints.',
  },
};

/** The schema as its file has it, up to its format. */
export function schemaOf(name: SchemaName): object {
  const { description, shape, title } = described[name];
  const made: object = z.toJSONSchema(shape, { target: 'draft-2020-12', io: 'input' });
  const { $schema, ...rest } = { $schema: '', ...made };
  return { $schema, title, description, ...rest };
}
