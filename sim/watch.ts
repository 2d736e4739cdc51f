// SPDX-License-Identifier: Apache-2.0
/** One node's watch of one kind: it stalls, repeats, breaks off, goes silent, is told 410 Gone, and lists what is old. */
import type { ClusterEvent } from '../core/objects.ts';
import type { Stream } from '../core/random.ts';
import type { Api, Change, WatchedKind } from './api.ts';
import type { Clock } from './clock.ts';
import { exponential } from './seed.ts';
import type { Swarm } from './swarm.ts';

/** In order within the kind; nothing is promised between two kinds. */
export interface Watch {
  /** Lists, then watches. */
  start(): void;
  stop(): void;
  /** Nothing arrives for a while; it all arrives afterwards. */
  stall(spanUs: number): void;
  /** The connection ends: what is under way is lost, and asked for again from the last version heard. */
  end(): void;
  /** The connection is dead and nobody says so: only the client's own patience ends it. */
  goSilent(): void;
  /** Lists from a cache that is so many changes behind, then watches from there. */
  listBehind(changes: number): void;
  /** Ends a stall at once. */
  heal(): void;
}

/** What a wrong client would do; planted to show that it is noticed. */
export type Mistake = 'takes 410 for nothing new' | 'watches from now after an old list' | 'waits for ever';

export type WatchOptions = {
  readonly clock: Clock;
  readonly stream: Stream;
  readonly swarm: Swarm;
  readonly api: Api;
  readonly kind: WatchedKind;
  readonly deliver: (event: ClusterEvent) => void;
  readonly mistake: Mistake | undefined;
};

const RETRY_US = 1e6;
/** Bookmarks come about once a minute; a client that hears nothing for longer connects again. */
const BOOKMARK_US = 60e6;
const PATIENCE_US = 90e6;

/** `version`: of the last thing heard once this has arrived. */
type Pending = { readonly atUs: number; readonly event: ClusterEvent; readonly version: number };

export function createWatch(options: WatchOptions): Watch {
  return new Client(options);
}

class Client implements Watch {
  readonly #options: WatchOptions;
  #isStarted = false;
  #isConnected = false;
  #isAwake = false;
  /** What was planned in an earlier connection is void. */
  #epoch = 0;
  /** Of the last thing heard; undefined: nothing yet. */
  #version: number | undefined;
  #stalledUntilUs = 0;
  #queue: Pending[] = [];

  constructor(options: WatchOptions) {
    this.#options = options;
    options.api.subscribe(options.kind, (change) => this.#change(change));
    this.#bookmarkLater();
  }

  start(): void {
    this.#drop();
    this.#isStarted = true;
    this.#version = undefined;
    this.#later(exponential(this.#options.stream, this.#options.swarm.watchDelayUs), () => this.#list(0));
  }

  stop(): void {
    this.#drop();
    this.#isStarted = false;
  }

  stall(spanUs: number): void {
    this.#stalledUntilUs = this.#options.clock.nowUs() + Math.floor(spanUs);
  }

  end(): void {
    if (!this.#isStarted) return;
    this.#drop();
    this.#later(exponential(this.#options.stream, RETRY_US), () => this.#connect());
  }

  goSilent(): void {
    if (!this.#isConnected) return;
    this.#drop();
    if (this.#options.mistake !== 'waits for ever') this.#later(PATIENCE_US, () => this.#connect());
  }

  listBehind(changes: number): void {
    if (!this.#isStarted) return;
    this.#drop();
    this.#lost('list again');
    this.#later(exponential(this.#options.stream, RETRY_US), () => this.#list(changes));
  }

  heal(): void {
    const nowUs = this.#options.clock.nowUs();
    if (this.#stalledUntilUs <= nowUs) return;
    this.#stalledUntilUs = nowUs;
    this.#options.clock.after(0, () => this.#wake());
  }

  #drop(): void {
    this.#epoch += 1;
    this.#isConnected = false;
    this.#queue = [];
  }

  #later(delayUs: number, action: () => void): void {
    const mine = this.#epoch;
    this.#options.clock.after(delayUs, () => {
      if (this.#epoch === mine) action();
    });
  }

  #lost(reason: string): void {
    this.#options.deliver({ type: 'DISCONNECTED', kind: this.#options.kind, reason });
  }

  #connect(): void {
    const { api, kind, mistake, stream } = this.#options;
    if (this.#version === undefined) return this.#list(0);
    const missed = api.since(kind, this.#version);
    this.#isConnected = missed !== undefined || mistake === 'takes 410 for nothing new';
    for (const change of missed ?? []) this.#change(change);
    if (this.#isConnected) return;
    this.#lost('410 Gone');
    this.#later(exponential(stream, RETRY_US), () => this.#list(0));
  }

  #list(behind: number): void {
    const { api, kind, mistake } = this.#options;
    const { items, version } = behind === 0 ? api.list(kind) : api.listBehind(kind, behind);
    this.#isConnected = true;
    this.#receive({ type: 'LISTED', kind, items }, version);
    if (mistake === 'watches from now after an old list') return;
    for (const change of api.since(kind, version) ?? []) this.#change(change);
  }

  #bookmarkLater(): void {
    const { clock, api, kind } = this.#options;
    clock.after(BOOKMARK_US, () => {
      if (this.#isConnected) this.#receive({ type: 'BOOKMARK', kind }, api.version());
      this.#bookmarkLater();
    });
  }

  #change({ event, version }: Change): void {
    if (this.#isConnected) this.#receive(event, version);
  }

  #receive(event: ClusterEvent, version: number): void {
    const { clock, stream, swarm } = this.#options;
    const soonestUs = this.#queue.at(-1)?.atUs ?? 0;
    const atUs = Math.max(soonestUs, clock.nowUs() + Math.floor(exponential(stream, swarm.watchDelayUs)));
    this.#queue.push({ atUs, event, version });
    if (stream.chance(swarm.duplicateShare)) this.#queue.push({ atUs, event, version });
    this.#wakeLater();
  }

  #wakeLater(): void {
    const { clock } = this.#options;
    const first = this.#queue[0];
    if (this.#isAwake || first === undefined) return;
    // A clogged watch is woken by who clears it.
    if (this.#stalledUntilUs === Number.POSITIVE_INFINITY) return;
    this.#isAwake = true;
    clock.after(Math.max(first.atUs, this.#stalledUntilUs) - clock.nowUs(), () => this.#wake());
  }

  #wake(): void {
    this.#isAwake = false;
    const nowUs = this.#options.clock.nowUs();
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      if (first.atUs > nowUs || this.#stalledUntilUs > nowUs) break;
      this.#queue.shift();
      this.#version = first.version;
      this.#options.deliver(first.event);
    }
    this.#wakeLater();
  }
}
