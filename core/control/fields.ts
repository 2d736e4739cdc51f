// SPDX-License-Identifier: Apache-2.0
/** Fields of objects whose kinds nobody has checked: each reader gives a usable value and reports what is wrong. */
import { parseAddress, parseProtocol, port, type Address, type Port, type Protocol } from '../address.ts';
import type { Problem, TrafficPolicy } from '../service.ts';

export type Fields = Readonly<Record<string, unknown>>;

const NO_FIELDS: Fields = {};

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object; anything else has no fields. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : NO_FIELDS;
}

/** A string; anything else is empty. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

const NO_ITEMS: readonly unknown[] = [];

/** A list; anything else is empty. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : NO_ITEMS;
}

/** Collects what is wrong with one object. */
export type Findings = { readonly object: string; readonly problems: Problem[] };

/** Adds a problem of the object. */
export function report(findings: Findings, field: string, message: string): void {
  findings.problems.push({ object: findings.object, field, message });
}

/** A problem is one line, whatever stands in the object. */
const SHOWN_MAX = 120;

/** A value as it stands in the object, or its beginning. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}... (${text.length} characters)` : text;
}

/** A list field; something else than a list is a problem, absence and null are an empty list. */
export function listField(findings: Findings, field: string, value: unknown): readonly unknown[] {
  if (value !== undefined && value !== null && !Array.isArray(value))
    report(findings, field, `not a list: ${shown(value)}`);
  return listOf(value);
}

/** null: not an address, which is reported. */
export function addressField(findings: Findings, field: string, value: unknown): Address | null {
  const parsed = typeof value === 'string' ? parseAddress(value) : undefined;
  if (parsed?.ok === true) return parsed.value;
  report(findings, field, `not an IP address: ${shown(value)}`);
  return null;
}

/** Those of a list that are addresses. */
export function addressesField(findings: Findings, field: string, value: unknown): Address[] {
  const addresses: Address[] = [];
  for (const [index, item] of listField(findings, field, value).entries()) {
    const parsed = addressField(findings, `${field}[${index}]`, item);
    if (parsed !== null) addresses.push(parsed);
  }
  return addresses;
}

/** null: not a port from 1 to 65535, which is reported. */
export function portField(findings: Findings, field: string, value: unknown): Port | null {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535) return port(value);
  report(findings, field, `not a port from 1 to 65535: ${shown(value)}`);
  return null;
}

/** TCP where nothing is said; null: not a protocol, which is reported. */
export function protocolField(findings: Findings, field: string, value: unknown): Protocol | null {
  const parsed = parseProtocol(value === undefined || value === null ? 'TCP' : textOf(value));
  if (parsed.ok) return parsed.value;
  report(findings, field, `not one of TCP, UDP, SCTP: ${shown(value)}`);
  return null;
}

/** Cluster where nothing usable is said. */
export function policyField(findings: Findings, field: string, value: unknown): TrafficPolicy {
  if (value === 'Local') return 'Local';
  if (value !== undefined && value !== null && value !== '' && value !== 'Cluster') {
    report(findings, field, `not one of Cluster, Local: ${shown(value)}; Cluster is used`);
  }
  return 'Cluster';
}
