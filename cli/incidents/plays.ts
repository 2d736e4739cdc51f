// SPDX-License-Identifier: Apache-2.0
/** The incidents: what the API says, what the node hears, what clients do meanwhile, and who is to blame. */
import { lists, pod, service, slice } from './cluster.ts';
import type { Incident } from './stage.ts';

const webPod = { port: 9999, protocol: 'TCP', behaviour: 'identity' } as const;

export const incidents: readonly Incident[] = [
  {
    name: 'late-slice',
    what:
      'A pod leaves its EndpointSlice; the node hears of it three seconds later. Until then new connections are sent ' +
      'to the pod, which answers.',
    blame: 'control-plane-late',
    client: 'client1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web1', 'web3'])]));
      const clients = stage.connect(24, 200);
      await stage.sleep(1000);
      const without = { type: 'MODIFIED', object: slice('web-a', ['web1']) } as const;
      stage.say(without);
      await stage.sleep(3000);
      stage.hear(without);
      await clients;
    },
  },
  {
    name: 'lost-delete',
    what:
      'The second EndpointSlice of a Service is deleted and its pod stopped; the node never hears of it. Connections ' +
      'to the pod are reset to the end.',
    blame: 'control-plane-late',
    client: 'client1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web1']), slice('web-b', ['web3'])]));
      const clients = stage.connect(24, 150);
      await stage.sleep(1200);
      stage.say({ type: 'DELETED', object: slice('web-b', ['web3']) });
      await stage.lab.server('web3')?.stop();
      await clients;
    },
  },
  {
    name: 'reused-address',
    what:
      'A pod is deleted and its address given to another pod, which does not listen on the port; the node hears of ' +
      'it two seconds late. Connections in between are reset by the wrong pod.',
    blame: 'control-plane-late',
    client: 'client1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web1', 'web4'])]));
      stage.happen({ type: 'LISTED', kind: 'Pod', items: [pod('web1', 'node1'), pod('web4', 'node2')] });
      const clients = stage.connect(24, 150);
      await stage.sleep(900);
      const without = { type: 'MODIFIED', object: slice('web-a', ['web1']) } as const;
      stage.say(without, { type: 'DELETED', object: pod('web4', 'node2') });
      await stage.lab.server('web4')?.stop();
      const other = await stage.lab.startServer('web4', [webPod]);
      stage.say({ type: 'ADDED', object: pod('batch', 'node2') });
      await stage.sleep(2000);
      stage.hear(without);
      await clients;
      if (other.ok) await other.value.stop();
    },
  },
  {
    name: 'refused-without-endpoints',
    what: 'All pods of a Service leave its EndpointSlice; the node hears of it at once and refuses new connections.',
    blame: 'neither',
    client: 'client1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web1', 'web2'])]));
      const clients = stage.connect(24, 150);
      await stage.sleep(1200);
      stage.happen({ type: 'MODIFIED', object: slice('web-a', []) });
      await stage.sleep(1200);
      stage.happen({ type: 'MODIFIED', object: slice('web-a', ['web1']) });
      await clients;
    },
  },
  {
    name: 'dead-pod',
    what:
      'A pod dies without a word: its EndpointSlice still names it as ready. Clients that are sent to it repeat their ' +
      'SYN and get no answer.',
    blame: 'neither',
    client: 'client1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web1', 'web2'])]));
      await stage.connect(8, 150);
      await stage.cutOff('web2');
      await stage.connect(12, 150);
    },
  },
  {
    name: 'stale-udp',
    what:
      'The pod that a UDP socket talks to leaves its EndpointSlice, the node hears of it at once, new connections go ' +
      'elsewhere; but a datapath with a fault sends the datagrams of the old socket on to the pod that is gone.',
    blame: 'datapath-wrong',
    client: 'client1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web2'])]));
      const asking = stage.ask(24, 150);
      await stage.sleep(1000);
      stage.happen({ type: 'MODIFIED', object: slice('web-a', ['web1']) });
      await stage.lab.server('web2')?.stop();
      await stage.connect(4, 150);
      await asking;
    },
  },
  {
    name: 'hairpin-without-snat',
    what:
      'A pod connects to a Service whose only endpoint is itself; a datapath with a fault keeps its source address, ' +
      'so the pod gets a packet that seems to come from itself and drops it.',
    blame: 'datapath-wrong',
    client: 'web1',
    play: async (stage) => {
      stage.happen(...lists([service()], [slice('web-a', ['web1'])]));
      await stage.connect(8, 150);
    },
  },
  {
    name: 'wrong-node-name',
    what:
      'A Service with internalTrafficPolicy Local has a pod on each node, but the proxy of node1 was given the name of ' +
      'node2: it sends its clients to the pod there, which answers.',
    blame: 'datapath-wrong',
    client: 'client1',
    play: async (stage) => {
      const heard = slice('web-a', ['web1', 'web3'], { node1: 'node2', node2: 'node1' });
      stage.say(...lists([service('Local')], [slice('web-a', ['web1', 'web3'])]));
      stage.hear(...lists([service('Local')], [heard]));
      await stage.connect(16, 150);
    },
  },
];

/** Faults of the datapath that two of them need, by the names under which the proofs plant them. */
export const faultOf: Readonly<Record<string, string>> = {
  'hairpin-without-snat': 'hairpin-not-seen',
  'stale-udp': 'datagram-keeps-dead-backend',
};
