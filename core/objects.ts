// SPDX-License-Identifier: Apache-2.0
/**
 * The Kubernetes objects we read, as they come over the wire: every field may be missing or wrong in kind, so
 * readers check what they use. Source: Kubernetes v1.36 core/v1 and discovery.k8s.io/v1.
 */

export type ObjectMeta = {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
};

export type ServicePortObject = {
  readonly name?: string;
  readonly port?: number;
  readonly protocol?: string;
  readonly nodePort?: number;
  readonly targetPort?: number | string;
};

export type ServiceObject = {
  readonly kind: 'Service';
  readonly metadata?: ObjectMeta;
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ipFamilies?: readonly string[];
    readonly ports?: readonly ServicePortObject[];
    readonly internalTrafficPolicy?: string;
    readonly externalTrafficPolicy?: string;
    readonly externalIPs?: readonly string[];
    readonly sessionAffinity?: string;
    readonly sessionAffinityConfig?: { readonly clientIP?: { readonly timeoutSeconds?: number } };
    readonly loadBalancerSourceRanges?: readonly string[];
    readonly healthCheckNodePort?: number;
  };
  readonly status?: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly ipMode?: string; readonly hostname?: string }[];
    };
  };
};

export type EndpointObject = {
  readonly addresses?: readonly string[];
  readonly conditions?: {
    readonly ready?: boolean | null;
    readonly serving?: boolean | null;
    readonly terminating?: boolean | null;
  };
  readonly nodeName?: string;
  readonly zone?: string;
  readonly hints?: {
    readonly forZones?: readonly { readonly name?: string }[];
    readonly forNodes?: readonly { readonly name?: string }[];
  };
  readonly targetRef?: {
    readonly kind?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly uid?: string;
  };
};

export type EndpointSliceObject = {
  readonly kind: 'EndpointSlice';
  readonly metadata?: ObjectMeta;
  readonly addressType?: string;
  readonly endpoints?: readonly EndpointObject[] | null;
  readonly ports?:
    | readonly { readonly name?: string | null; readonly port?: number | null; readonly protocol?: string | null }[]
    | null;
};

export type NodeObject = {
  readonly kind: 'Node';
  readonly metadata?: ObjectMeta;
  readonly spec?: { readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly addresses?: readonly { readonly type?: string; readonly address?: string }[] };
};

export type ContainerObject = {
  readonly restartPolicy?: string;
  readonly ports?: readonly {
    readonly hostPort?: number;
    readonly hostIP?: string;
    readonly containerPort?: number;
    readonly protocol?: string;
  }[];
};

export type PodObject = {
  readonly kind: 'Pod';
  readonly metadata?: ObjectMeta;
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly containers?: readonly ContainerObject[];
    readonly initContainers?: readonly ContainerObject[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
};

export type ClusterObject = ServiceObject | EndpointSliceObject | NodeObject | PodObject;
export type ObjectKind = ClusterObject['kind'];

/**
 * One thing a watch can tell, in order of arrival. LISTED replaces everything of its kind; after DISCONNECTED what
 * follows may have gaps until the next LISTED of that kind.
 */
export type ClusterEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: ClusterObject }
  | { readonly type: 'LISTED'; readonly kind: ObjectKind; readonly items: readonly ClusterObject[] }
  | { readonly type: 'DISCONNECTED'; readonly kind: ObjectKind; readonly reason: string }
  | { readonly type: 'BOOKMARK'; readonly kind: ObjectKind };

/** Every object that an event tells of. */
export function objectsOf(event: ClusterEvent): readonly ClusterObject[] {
  return event.type === 'LISTED' ? event.items : 'object' in event ? [event.object] : [];
}

/** The kind that an event is about. */
export function kindOf(event: ClusterEvent): ObjectKind {
  return 'object' in event ? event.object.kind : event.kind;
}
