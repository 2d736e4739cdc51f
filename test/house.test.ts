// SPDX-License-Identifier: Apache-2.0
/** The rules of the house over the whole checkout; each rule's planted faults are in test/house/. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { commands } from '../cli/commands.ts';
import { checkClosures, checkDirections, kernelDoors } from './house/imports.ts';
import { checkOutside } from './house/outside.ts';
import { checkSizes, type Ratchet } from './house/size.ts';
import { findingLines, readSources } from './house/sources.ts';
import {
  checkFirstSentence,
  checkGenerated,
  checkLeftovers,
  checkLicence,
  checkLock,
  checkNames,
} from './house/text.ts';
import { checkTwins, type Singles } from './house/twins.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = readSources(root.replace(/\/$/, ''));

/** Commands that work without root, without a kernel and without its libraries. */
const kernelFreeEntries = [
  'cli/main.ts',
  'cli/commands.ts',
  'cli/output.ts',
  'cli/compile.ts',
  'cli/replay.ts',
  'cli/trace.ts',
  'cli/whatif.ts',
  'cli/sim.ts',
  'cli/record.ts',
];

/** Where kernel/ is imported when it is wanted and can be had; anything else must be argued for here. */
const openDoors = /^cli\/(replaykernel|demo|verify|bench|lab|sim)\.ts -> kernel\//;

/** Longer than the limit on purpose; may shrink, may not grow. */
const ratchet: Ratchet = {
  'bpf/layout.h': { lines: 760, reason: 'by law the one place of every struct, enum, map and outside answer' },
  'bpf/flows.h': { lines: 600, reason: 'the flow table in one file, so that its twin is one file' },
  'core/datapath/flows.ts': { lines: 540, reason: 'the twin of bpf/flows.h' },
};

/** Functions that only one of the twins needs, each with its reason. */
const singles: Singles = {
  'bpf/share.h': { flowZero: 'arithmetic instead of a branch, for the verifier' },
  'core/datapath/packet.ts': {
    createPacket: 'a struct on the stack in C; made once here, the hot path makes no garbage',
  },
  'core/datapath/classify.ts': { bitOf: 'a 64-bit word in C, two 32-bit words here' },
  'core/datapath/select.ts': {
    rotate: 'a macro in C',
    viewOf: 'a member access in C, an offset in words here',
  },
  'core/datapath/decision.ts': {
    createDecision: 'a struct in per-CPU memory in C',
    protocolOf: 'a member access in C',
  },
  'core/datapath/conntrack.ts': { turnedTo: 'a member access in C' },
  'bpf/verdict.h': { followSum: "the device's sum over the packet, which the model has not" },
  'core/datapath/connect.ts': {
    createConnection: 'a struct on the stack in C',
    wordsOf: 'a 64-bit word in C, two 32-bit words here',
    protocolOf: 'a member access in C, a byte of a word here',
  },
  'core/datapath/sockets.ts': {
    createSocketState: 'made by the kernel, with the socket',
    rowOf: 'an array access in C, an offset in words here',
    sameAsked: 'same_frontend in C, over another memory here',
  },
  'core/datapath/flows.ts': {
    createRecord: 'a struct on the stack in C',
    flowAt: 'an array access in C, an offset in words here',
    add: 'a 64-bit addition in C',
  },
};

describe('the house', () => {
  test('imports follow the directions between rooms', () => {
    expect(findingLines(checkDirections(sources))).toEqual([]);
  });

  test('commands that need no kernel pull in none of it before they run', () => {
    expect(findingLines(checkClosures(sources, kernelFreeEntries))).toEqual([]);
  });

  test('the kernel is imported dynamically by the commands that can do without it, and by nobody else', () => {
    expect(kernelDoors(sources).filter((door) => !openDoors.test(door))).toEqual([]);
  });

  test('twins have the same functions and the same branch marks in the same order', () => {
    expect(findingLines(checkTwins(sources, singles))).toEqual([]);
  });

  test('every BPF helper that is called is a declared input, a map access or an effect', () => {
    expect(findingLines(checkOutside(sources))).toEqual([]);
  });

  test('files and functions fit a screen', () => {
    expect(findingLines(checkSizes(sources, ratchet))).toEqual([]);
  });

  test('every file names its licence', () => {
    expect(findingLines(checkLicence(sources))).toEqual([]);
  });

  test('every file says what it is', () => {
    expect(findingLines(checkFirstSentence(sources))).toEqual([]);
  });

  test('generated files say so in line one', () => {
    expect(findingLines(checkGenerated(sources))).toEqual([]);
  });

  test('no notes to oneself and no checker switched off', () => {
    expect(findingLines(checkLeftovers(sources))).toEqual([]);
  });

  test('no file has a name that says nothing', () => {
    expect(findingLines(checkNames(sources))).toEqual([]);
  });

  test('the lock file has an entry for every optional package', () => {
    expect(findingLines(checkLock(readFileSync(`${root}package-lock.json`, 'utf8')))).toEqual([]);
  });

  test('every room with TypeScript in it is type-checked', () => {
    const rooms = new Set(
      sources.filter(({ path }) => path.endsWith('.ts')).map(({ path }) => path.split('/')[0] ?? ''),
    );
    const references = readFileSync(`${root}tsconfig.json`, 'utf8');
    expect([...rooms].filter((room) => !references.includes(`"path": "${room}"`))).toEqual([]);
  });

  // The demo is the last command to be built; from then on nothing may be listed that is not there.
  test.runIf(existsSync(`${root}cli/demo.ts`))('every command that is listed exists', () => {
    expect(commands.filter(({ name }) => !existsSync(`${root}cli/${name}.ts`)).map(({ name }) => name)).toEqual([]);
  });
});
