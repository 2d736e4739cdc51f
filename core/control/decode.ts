// SPDX-License-Identifier: Apache-2.0
/** Objects as they come over the wire, checked field by field: what can't be used becomes a problem, the rest is kept. */
import {
  addressText,
  parseAddress,
  parsePrefix,
  type Address,
  type Port,
  type Prefix,
  type Protocol,
} from '../address.ts';
import type { ServiceObject } from '../objects.ts';
import type { Algorithm, Family, Problem, TrafficPolicy } from '../service.ts';
import { familyOf } from './families.ts';
import {
  addressesField,
  addressField,
  fieldsOf,
  listField,
  listOf,
  policyField,
  portField,
  protocolField,
  report,
  shown,
  textOf,
  type Fields,
  type Findings,
} from './fields.ts';
import { serviceText } from './names.ts';

const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';
const ALGORITHM_ANNOTATION = 'tandem/algorithm';
/** Kubernetes' default for sessionAffinityConfig.clientIP.timeoutSeconds. */
const AFFINITY_SECONDS_DEFAULT = 10_800;
/** The API server's maximum. */
const AFFINITY_SECONDS_MAX = 86_400;

export type ServicePortInfo = {
  /** Place in spec.ports, for problems. */
  readonly index: number;
  readonly name: string;
  readonly port: Port;
  readonly protocol: Protocol;
  readonly nodePort: Port | null;
};

/** A Service as the proxy rules need it. */
export type ServiceInfo = {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** Whether rule A1 leaves it out: headless or an external name. */
  readonly skipped: boolean;
  /** Value of the service-proxy-name label; null: not labelled. */
  readonly proxyName: string | null;
  /** RFC 3339, as the API server writes it; empty: not said. */
  readonly created: string;
  /** What the Service asks for; null: what the configuration says. */
  readonly algorithm: Algorithm | null;
  /** The family of its first ClusterIP. */
  readonly primaryFamily: Family;
  readonly clusterIPs: { readonly [family in Family]: Address | null };
  readonly ports: readonly ServicePortInfo[];
  readonly internalPolicy: TrafficPolicy;
  readonly externalPolicy: TrafficPolicy;
  readonly externalIPs: readonly Address[];
  readonly loadBalancerIPs: readonly Address[];
  readonly affinitySeconds: number | null;
  /** null: everyone. */
  readonly sourceRanges: readonly Prefix[] | null;
  readonly healthCheckNodePort: number;
  readonly problems: readonly Problem[];
};

/** Namespace and name; undefined where the object can't be told from others. */
export function identity(metadata: unknown): { namespace: string; name: string } | undefined {
  const fields = fieldsOf(metadata);
  const namespace = textOf(fields['namespace']);
  const name = textOf(fields['name']);
  return namespace === '' || name === '' ? undefined : { namespace, name };
}

/** `namespace/name` of an object; undefined where one is missing. */
export function objectKey(metadata: unknown): string | undefined {
  const id = identity(metadata);
  return id === undefined ? undefined : serviceText(id.namespace, id.name);
}

/** clusterIPs[i] belongs to ipFamilies[i]; Services older than ipFamilies have clusterIP alone (services H1). */
function clusterIPs(findings: Findings, spec: Fields): { [family in Family]: Address | null } {
  const found: { [family in Family]: Address | null } = { IPv4: null, IPv6: null };
  const families = listField(findings, 'spec.ipFamilies', spec['ipFamilies']);
  const listed = listField(findings, 'spec.clusterIPs', spec['clusterIPs']);
  if (families.length === 0 || listed.length === 0) {
    const single = addressField(findings, 'spec.clusterIP', spec['clusterIP']);
    if (single !== null) found[familyOf(single)] = single;
    return found;
  }
  for (const [index, family] of families.entries()) {
    if (family !== 'IPv4' && family !== 'IPv6') {
      report(findings, `spec.ipFamilies[${index}]`, `not one of IPv4, IPv6: ${shown(family)}`);
      continue;
    }
    if (index >= listed.length || found[family] !== null) continue;
    const field = `spec.clusterIPs[${index}]`;
    const parsed = addressField(findings, field, listed[index]);
    if (parsed === null) continue;
    if (familyOf(parsed) === family) found[family] = parsed;
    else report(findings, field, `${addressText(parsed)} is not an ${family} address`);
  }
  return found;
}

/** The family of clusterIP; of what can't be read, that of an address that can. */
function primaryFamily(clusterIP: string, addresses: ServiceInfo['clusterIPs']): Family {
  const parsed = parseAddress(clusterIP);
  if (parsed.ok) return familyOf(parsed.value);
  return addresses.IPv4 === null && addresses.IPv6 !== null ? 'IPv6' : 'IPv4';
}

function servicePorts(findings: Findings, value: unknown): ServicePortInfo[] {
  const ports: ServicePortInfo[] = [];
  const seen = new Set<string>();
  for (const [index, item] of listField(findings, 'spec.ports', value).entries()) {
    const fields = fieldsOf(item);
    const at = `spec.ports[${index}]`;
    const number = portField(findings, `${at}.port`, fields['port']);
    const protocol = protocolField(findings, `${at}.protocol`, fields['protocol']);
    if (number === null || protocol === null) continue;
    const name = textOf(fields['name']);
    // The API server refuses it; with one, names of two Service ports could be the same text.
    if (name.includes(':')) {
      report(findings, `${at}.name`, `not a name of a port: ${shown(name)}`);
      continue;
    }
    if (seen.has(`${name}/${protocol}`)) {
      report(
        findings,
        `${at}.name`,
        `another port has the name ${shown(name)} and the same protocol; the first is used`,
      );
      continue;
    }
    seen.add(`${name}/${protocol}`);
    const given = fields['nodePort'] ?? 0;
    const nodePort = given === 0 ? null : portField(findings, `${at}.nodePort`, given);
    ports.push({ index, name, port: number, protocol, nodePort });
  }
  return ports;
}

/** Ingress points with an address that are ours to answer (services B9); host names and ipMode Proxy aren't. */
function loadBalancerIPs(findings: Findings, status: Fields): Address[] {
  const ingress = fieldsOf(status['loadBalancer'])['ingress'];
  const addresses: Address[] = [];
  for (const [index, item] of listField(findings, 'status.loadBalancer.ingress', ingress).entries()) {
    const fields = fieldsOf(item);
    const mode = fields['ipMode'] ?? 'VIP';
    if (mode !== 'VIP' || textOf(fields['ip']) === '') continue;
    const parsed = addressField(findings, `status.loadBalancer.ingress[${index}].ip`, fields['ip']);
    if (parsed !== null) addresses.push(parsed);
  }
  return addresses;
}

function affinitySeconds(findings: Findings, spec: Fields): number | null {
  const affinity = spec['sessionAffinity'] ?? 'None';
  if (affinity === 'None' || affinity === '') return null;
  if (affinity !== 'ClientIP') {
    report(findings, 'spec.sessionAffinity', `not one of None, ClientIP: ${shown(affinity)}; None is used`);
    return null;
  }
  const given =
    fieldsOf(fieldsOf(spec['sessionAffinityConfig'])['clientIP'])['timeoutSeconds'] ?? AFFINITY_SECONDS_DEFAULT;
  if (typeof given === 'number' && Number.isInteger(given) && given >= 1 && given <= AFFINITY_SECONDS_MAX) return given;
  const field = 'spec.sessionAffinityConfig.clientIP.timeoutSeconds';
  report(
    findings,
    field,
    `not from 1 to ${AFFINITY_SECONDS_MAX}: ${shown(given)}; ${AFFINITY_SECONDS_DEFAULT} is used`,
  );
  return AFFINITY_SECONDS_DEFAULT;
}

/** Unparsable ranges are skipped (services A8); a list of which nothing is left, of neither family, lets nobody in. */
function sourceRanges(findings: Findings, value: unknown): Prefix[] | null {
  const items = listField(findings, 'spec.loadBalancerSourceRanges', value);
  if (items.length === 0) return null;
  const ranges: Prefix[] = [];
  for (const [index, item] of items.entries()) {
    const parsed = parsePrefix(textOf(item));
    if (parsed.ok) ranges.push(parsed.value);
    else report(findings, `spec.loadBalancerSourceRanges[${index}]`, `not an IP address range: ${shown(item)}`);
  }
  return ranges;
}

/** null: not asked for, or nothing that we know. */
function algorithmOf(findings: Findings, asked: unknown): Algorithm | null {
  if (asked === undefined || asked === 'hash' || asked === 'maglev') return asked ?? null;
  const message = `not one of hash, maglev: ${shown(asked)}; what the configuration says is used`;
  report(findings, `metadata.annotations["${ALGORITHM_ANNOTATION}"]`, message);
  return null;
}

/**
 * Decodes an object once: what comes over the wire never changes, and lists and restarts say most of it again. The
 * same object gives the same answer in memory, which tells that nothing changed.
 */
export function decodedOnce<O extends object, T>(decode: (object: O) => T): (object: O) => T {
  const known = new WeakMap<O, { readonly decoded: T }>();
  return (object) => {
    const before = known.get(object);
    if (before !== undefined) return before.decoded;
    const decoded = decode(object);
    known.set(object, { decoded });
    return decoded;
  };
}

/** undefined: the Service has no name or namespace. */
export const decodeService: (object: ServiceObject) => ServiceInfo | undefined = decodedOnce(readService);

function readService(object: ServiceObject): ServiceInfo | undefined {
  const id = identity(object.metadata);
  if (id === undefined) return undefined;
  const key = serviceText(id.namespace, id.name);
  const findings: Findings = { object: `Service ${key}`, problems: [] };
  const spec = fieldsOf(object.spec);
  const proxyName = fieldsOf(object.metadata?.labels)[PROXY_NAME_LABEL];
  const type = textOf(spec['type']) || 'ClusterIP';
  const clusterIP = textOf(spec['clusterIP']);
  // ShouldSkipService of Kubernetes looks at clusterIP alone, never at clusterIPs.
  const skipped = clusterIP === '' || clusterIP === 'None' || type === 'ExternalName';
  if (clusterIP === '' && type !== 'ExternalName') report(findings, 'spec.clusterIP', 'not set: nothing is served');
  const healthCheckPort = spec['healthCheckNodePort'] ?? 0;
  const addresses = skipped ? { IPv4: null, IPv6: null } : clusterIPs(findings, spec);
  return {
    key,
    ...id,
    type,
    skipped,
    proxyName: proxyName === undefined ? null : textOf(proxyName),
    created: textOf(fieldsOf(object.metadata)['creationTimestamp']),
    algorithm: algorithmOf(findings, fieldsOf(object.metadata?.annotations)[ALGORITHM_ANNOTATION]),
    primaryFamily: primaryFamily(textOf(listOf(spec['clusterIPs'])[0]) || clusterIP, addresses),
    clusterIPs: addresses,
    ports: skipped ? [] : servicePorts(findings, spec['ports']),
    internalPolicy: policyField(findings, 'spec.internalTrafficPolicy', spec['internalTrafficPolicy']),
    externalPolicy: policyField(findings, 'spec.externalTrafficPolicy', spec['externalTrafficPolicy']),
    externalIPs: skipped ? [] : addressesField(findings, 'spec.externalIPs', spec['externalIPs']),
    loadBalancerIPs: skipped ? [] : loadBalancerIPs(findings, fieldsOf(object.status)),
    affinitySeconds: affinitySeconds(findings, spec),
    sourceRanges: sourceRanges(findings, spec['loadBalancerSourceRanges']),
    healthCheckNodePort:
      healthCheckPort === 0 ? 0 : (portField(findings, 'spec.healthCheckNodePort', healthCheckPort) ?? 0),
    problems: findings.problems,
  };
}
