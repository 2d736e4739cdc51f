// SPDX-License-Identifier: Apache-2.0
/** The cluster as it really is: Services, Deployments, pods that come and go, and the controller that writes slices. */
import type { EndpointObject, EndpointSliceObject, ServiceObject } from '../core/objects.ts';
import type { Stream } from '../core/random.ts';
import type { Api } from './api.ts';
import type { Clock } from './clock.ts';
import { wordText } from './frame.ts';
import { exponential } from './seed.ts';
import type { Swarm } from './swarm.ts';

/** `failed` and `pending` pods answer nobody; `unready` ones do. */
export type Pod = {
  readonly id: number;
  readonly node: number;
  readonly address: number;
  state: 'pending' | 'ready' | 'unready' | 'failed' | 'terminating' | 'gone';
};

/** What a Service port is asked for, and where. */
export type AppPort = {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
  readonly target: number;
};
export type Family = 'IPv4' | 'IPv6';

/** A Service with its Deployment. `clusterIP` is a word: 0x0a600001 for 10.96.0.1. */
export type App = {
  readonly name: string;
  readonly slices: number;
  /** One or both, the first one first. */
  readonly families: readonly Family[];
  readonly ports: readonly AppPort[];
  readonly isLocal: boolean;
  clusterIP: number;
  /** How the Service is reached from outside: changes with each revision. */
  revision: number;
  exists: boolean;
  isDirty: boolean;
  isRolling: boolean;
  replicas: number;
  pods: Pod[];
};

export interface Cluster {
  readonly apps: readonly App[];
  podAt(address: number): Pod | undefined;
  /** Everything written to the API at once. */
  bootstrap(): void;
  scale(app: App, replicas: number): void;
  rollout(app: App): void;
  crashPod(app: App): void;
  flap(app: App): void;
  remove(app: App): void;
  create(app: App): void;
  loseNode(node: number): void;
  regainNode(node: number): void;
}

export type ClusterOptions = {
  readonly clock: Clock;
  readonly stream: Stream;
  readonly swarm: Swarm;
  readonly api: Api;
  readonly nodes: number;
  readonly services: number;
};

const START_US = 2e6;
const GRACE_US = 3e6;
const REPAIR_US = 3e6;
const NOTICE_US = 5e6;
const SERVICE_RANGE = 0x0a600000;
const REPLICAS_MAX = 6;
const FAMILIES: readonly (readonly Family[])[] = [['IPv4'], ['IPv4'], ['IPv6'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4']];
const HTTP: AppPort = { name: 'http', protocol: 'TCP', port: 80, target: 8080 };
const HTTPS: AppPort = { name: 'https', protocol: 'TCP', port: 443, target: 8443 };
const DNS: AppPort = { name: 'dns', protocol: 'UDP', port: 53, target: 5353 };
const DNS_TCP: AppPort = { name: 'dns-tcp', protocol: 'TCP', port: 53, target: 5353 };
const LOGS: AppPort = { name: 'logs', protocol: 'UDP', port: 514, target: 5514 };
const PORTS: readonly (readonly AppPort[])[] = [[HTTP], [HTTP], [HTTP, HTTPS], [DNS, DNS_TCP], [HTTP, LOGS]];

export const nodeName = (node: number): string => `node-${node}`;

/** Whether somebody answers at the pod's address. */
export function answers({ state }: Pod): boolean {
  return state === 'ready' || state === 'unready' || state === 'terminating';
}

export function createCluster(options: ClusterOptions): Cluster {
  const { stream, services } = options;
  const apps = Array.from({ length: services }, (_, index) => createApp(options, index));
  const pods = new Pods(options);
  const deployments = new Deployments(options, pods);
  let nextIP = SERVICE_RANGE + services + 1;
  return {
    apps,
    podAt: (address) => pods.at(address),
    bootstrap: () => {
      for (const app of apps) {
        for (let i = 0; i < app.replicas; i += 1) app.pods.push(pods.create('ready'));
        deployments.publish(app);
      }
    },
    scale: (app, replicas) => deployments.scale(app, Math.min(REPLICAS_MAX, replicas)),
    rollout: (app) => deployments.rollout(app),
    crashPod: (app) => deployments.disturb(app, 'failed'),
    flap: (app) => deployments.disturb(app, 'unready'),
    remove: (app) => deployments.remove(app),
    create: (app) => {
      if (app.exists) return;
      // Sometimes another address than before, as after a restore.
      if (stream.chance(0.5)) app.clusterIP = nextIP++;
      app.exists = true;
      deployments.publish(app);
      deployments.scale(app, 1 + stream.below(REPLICAS_MAX));
    },
    loseNode: (node) => {
      pods.down.add(node);
      for (const app of apps) deployments.loseNode(app, node);
    },
    regainNode: (node) => void pods.down.delete(node),
  };
}

function createApp({ stream, swarm }: ClusterOptions, index: number): App {
  return {
    name: `app-${index}`,
    slices: stream.chance(0.2) ? 2 : 1,
    families: stream.pick(FAMILIES),
    ports: stream.pick(PORTS),
    isLocal: stream.chance(swarm.localShare),
    clusterIP: SERVICE_RANGE + 1 + index,
    revision: index,
    exists: true,
    isDirty: false,
    isRolling: false,
    replicas: stream.below(REPLICAS_MAX),
    pods: [],
  };
}

/** Pods with their addresses, which pass to other pods. */
class Pods {
  readonly down: Set<number> = new Set();
  readonly #byAddress = new Map<number, Pod>();
  readonly #free: number[][];
  readonly #used: number[];
  readonly #stream: Stream;
  readonly #nodes: number;
  #ids = 0;

  constructor({ stream, nodes }: ClusterOptions) {
    this.#stream = stream;
    this.#nodes = nodes;
    this.#free = Array.from({ length: nodes }, () => []);
    this.#used = Array.from({ length: nodes }, () => 0);
  }

  at(address: number): Pod | undefined {
    return this.#byAddress.get(address);
  }

  create(state: Pod['state']): Pod {
    let node = this.#stream.below(this.#nodes);
    while (this.down.has(node) && this.down.size < this.#nodes) node = (node + 1) % this.#nodes;
    const pod: Pod = { id: ++this.#ids, node, address: this.#address(node), state };
    this.#byAddress.set(pod.address, pod);
    return pod;
  }

  end(pod: Pod): void {
    if (pod.state === 'gone') return;
    pod.state = 'gone';
    this.#byAddress.delete(pod.address);
    this.#free[pod.node]?.push(pod.address);
  }

  /** A fresh address, the one freed last, or the one freed first. */
  #address(node: number): number {
    const free = this.#free[node] ?? [];
    const how = this.#stream.below(3);
    const again = how === 0 ? undefined : how === 1 ? free.pop() : free.shift();
    if (again !== undefined) return again;
    const index = (this.#used[node] = (this.#used[node] ?? 0) + 1);
    return 0x0a000000 + ((100 + node) << 16) + index;
  }
}

/** What the controllers do, each with its delay. */
class Deployments {
  readonly #clock: Clock;
  readonly #stream: Stream;
  readonly #sliceDelayUs: number;
  readonly #api: Api;
  readonly #pods: Pods;

  constructor({ clock, stream, swarm, api }: ClusterOptions, pods: Pods) {
    this.#clock = clock;
    this.#stream = stream;
    this.#sliceDelayUs = swarm.sliceDelayUs;
    this.#api = api;
    this.#pods = pods;
  }

  publish(app: App): void {
    this.#api.write(serviceObject(app));
    this.#writeSlices(app);
  }

  scale(app: App, replicas: number): void {
    app.replicas = replicas;
    // Whoever touches a Deployment touches its Service too.
    if (app.exists && app.revision++ % 2 === 0) this.#api.write(serviceObject(app));
    const kept = app.pods.filter(({ state }) => state !== 'terminating' && state !== 'gone');
    for (let i = kept.length; i < replicas; i += 1) this.#start(app);
    for (const pod of kept.slice(replicas)) this.#terminate(app, pod);
  }

  /** One pod after another: the new one is ready, then the old one goes. */
  rollout(app: App): void {
    if (app.isRolling) return;
    app.isRolling = true;
    const old = app.pods.filter(({ state }) => state !== 'terminating' && state !== 'gone');
    const next = (index: number): void => {
      const pod = old[index];
      if (pod === undefined || !app.exists) {
        app.isRolling = false;
        return;
      }
      this.#start(app, () => {
        this.#terminate(app, pod);
        next(index + 1);
      });
    };
    next(0);
  }

  disturb(app: App, state: 'failed' | 'unready'): void {
    const pod = app.pods.find((candidate) => candidate.state === 'ready');
    if (pod === undefined) return;
    pod.state = state;
    this.#dirty(app);
    this.#clock.after(exponential(this.#stream, REPAIR_US), () => {
      if (pod.state !== state) return;
      pod.state = 'ready';
      this.#dirty(app);
    });
  }

  remove(app: App): void {
    if (!app.exists) return;
    app.exists = false;
    this.#api.remove('Service', app.name);
    for (const pod of app.pods) this.#terminate(app, pod);
    this.#dirty(app);
  }

  /** The pods are silent at once; that they are gone is noticed later. */
  loseNode(app: App, node: number): void {
    const lost = app.pods.filter((pod) => pod.node === node && pod.state !== 'gone');
    if (lost.length === 0) return;
    for (const pod of lost) pod.state = 'failed';
    this.#clock.after(exponential(this.#stream, NOTICE_US), () => {
      for (const pod of lost) this.#pods.end(pod);
      app.pods = app.pods.filter(({ state }) => state !== 'gone');
      if (app.exists) this.scale(app, app.replicas);
      this.#dirty(app);
    });
  }

  #start(app: App, onReady: () => void = () => undefined): void {
    const pod = this.#pods.create('pending');
    app.pods.push(pod);
    this.#dirty(app);
    this.#clock.after(exponential(this.#stream, START_US), () => {
      if (pod.state === 'pending') {
        pod.state = 'ready';
        this.#dirty(app);
      }
      onReady();
    });
  }

  #terminate(app: App, pod: Pod): void {
    if (pod.state === 'terminating' || pod.state === 'gone') return;
    pod.state = 'terminating';
    this.#dirty(app);
    this.#clock.after(exponential(this.#stream, GRACE_US), () => {
      this.#pods.end(pod);
      app.pods = app.pods.filter((other) => other !== pod);
      this.#dirty(app);
    });
  }

  #dirty(app: App): void {
    if (app.isDirty) return;
    app.isDirty = true;
    this.#clock.after(exponential(this.#stream, this.#sliceDelayUs), () => {
      app.isDirty = false;
      this.#writeSlices(app);
    });
  }

  #writeSlices(app: App): void {
    for (const family of app.families) {
      for (let index = 0; index < app.slices; index += 1) {
        if (app.exists) this.#api.write(sliceObject(app, family, index));
        else this.#api.remove('EndpointSlice', sliceName(app, family, index));
      }
    }
  }
}

function sliceName({ name }: App, family: Family, index: number): string {
  return `${name}-${family === 'IPv6' ? 'v6-' : ''}${index}`;
}

/** Addresses that several Services claim. */
const BALANCERS: readonly string[] = ['198.51.100.1', '198.51.100.2', 'fd00:ee::1'];
const EXTERNAL_IPS: readonly string[] = ['198.51.101.1', 'fd00:ef::1'];
/** The same set in two orders, another set, and one in which nodes lie. */
const RANGES: readonly (readonly string[])[] = [
  ['10.0.0.0/8', '203.0.113.0/24'],
  ['203.0.113.0/24', '10.0.0.0/8'],
  ['10.0.0.0/8'],
  ['192.0.2.0/24'],
];

type Outside = { readonly spec: ServiceObject['spec']; readonly ingress: readonly { readonly ip: string }[] };

/** Every kind of frontend comes and goes with the revisions of a Service. */
function outsideOf({ ports, revision }: App): Outside {
  const listed = ports.map(({ name, port, protocol }) => ({ name, port, protocol }));
  const withNodePorts = listed.map((each, index) => ({ ...each, nodePort: 30_000 + (revision % 16) * 4 + index }));
  const externalTrafficPolicy = revision % 3 === 0 ? 'Local' : 'Cluster';
  switch (revision % 5) {
    case 1:
      return { spec: { type: 'NodePort', ports: withNodePorts, externalTrafficPolicy }, ingress: [] };
    case 2: {
      const spec = { type: 'LoadBalancer', ports: withNodePorts, externalTrafficPolicy };
      const ranges = RANGES[revision % RANGES.length] ?? [];
      return { spec: { ...spec, loadBalancerSourceRanges: ranges }, ingress: BALANCERS.map((ip) => ({ ip })) };
    }
    case 3:
      return { spec: { type: 'ClusterIP', ports: listed, externalIPs: EXTERNAL_IPS }, ingress: [] };
    default:
      return { spec: { type: 'ClusterIP', ports: listed }, ingress: [] };
  }
}

function serviceObject(app: App): ServiceObject {
  const clusterIPs = app.families.map((family) => wordText(app.clusterIP, family === 'IPv6'));
  const { ingress, spec } = outsideOf(app);
  return {
    kind: 'Service',
    metadata: { namespace: 'sim', name: app.name },
    status: { loadBalancer: { ingress } },
    spec: {
      ...spec,
      clusterIP: clusterIPs[0] ?? '',
      clusterIPs,
      ipFamilies: app.families,
      internalTrafficPolicy: app.isLocal ? 'Local' : 'Cluster',
    },
  };
}

function sliceObject(app: App, family: Family, index: number): EndpointSliceObject {
  const pods = app.pods.filter(({ id, state }) => id % app.slices === index && state !== 'gone');
  return {
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'sim',
      name: sliceName(app, family, index),
      labels: { 'kubernetes.io/service-name': app.name },
    },
    addressType: family,
    ports: app.ports.map(({ name, target, protocol }) => ({ name, port: target, protocol })),
    endpoints: pods.map((pod) => endpointObject(pod, family === 'IPv6')),
  };
}

function endpointObject({ id, address, node, state }: Pod, isIPv6: boolean): EndpointObject {
  const isReady = state === 'ready';
  const isTerminating = state === 'terminating';
  return {
    addresses: [wordText(address, isIPv6)],
    conditions: { ready: isReady, serving: isReady || isTerminating, terminating: isTerminating },
    nodeName: nodeName(node),
    targetRef: { kind: 'Pod', uid: String(id) },
  };
}
