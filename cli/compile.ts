// SPDX-License-Identifier: Apache-2.0
/** `tandem compile FILES...`: manifests or event streams to the frontends and backends that a node would serve. */
import { applyEvent, emptyCluster, type ClusterState } from '../core/control/cluster.ts';
import { compiledTable, compileServices } from '../core/control/document.ts';
import type { ClusterEvent } from '../core/objects.ts';
import { failureText, type Failure } from '../core/result.ts';
import { defaultConfiguration, readConfiguration } from '../formats/config.ts';
import { isEventStreamName, readEventStreams } from '../formats/events.ts';
import { readManifests } from '../formats/manifests.ts';
import type { CommandRun } from './commands.ts';
import { exitCode, printJson, printNote, printText, reportFailure } from './output.ts';

type Input = {
  readonly events: readonly ClusterEvent[];
  readonly failures: readonly Failure[];
  readonly notes: readonly string[];
};

export const run: CommandRun = async (files, options) => {
  const path = options['config'];
  const config =
    typeof path === 'string' ? readConfiguration(path) : { ok: true as const, value: defaultConfiguration() };
  if (!config.ok) return reportFailure(config.error);
  const { events, failures, notes } = readInput(files);
  let cluster: ClusterState = emptyCluster();
  for (const event of events) cluster = applyEvent(cluster, event).state;
  const document = compileServices(cluster, config.value);
  if (options['output'] === 'table') printText(compiledTable(document));
  else printJson(document);
  for (const note of notes) printNote(`tandem: ${note}`);
  // What could be read has been reported; what couldn't decides the exit code.
  return failures.map(reportFailure)[0] ?? exitCode.agreed;
};

function readInput(files: readonly string[]): Input {
  const streams = readEventStreams(files.filter(isEventStreamName));
  const manifests = readManifests(files.filter((file) => !isEventStreamName(file)));
  const events = streams.events.map(({ event }) => event);
  for (const { object } of manifests.objects) events.push({ type: 'ADDED', object });
  const skipped = new Map(manifests.skipped);
  for (const [kind, count] of streams.skipped) skipped.set(kind, (skipped.get(kind) ?? 0) + count);
  const notes = streams.problems.map(failureText);
  for (const [kind, count] of skipped) notes.push(`${count} of kind ${kind} not read: it has no part in Services`);
  return { events, failures: [...streams.failures, ...manifests.failures], notes };
}
