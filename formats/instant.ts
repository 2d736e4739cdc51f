// SPDX-License-Identifier: Apache-2.0
/** Points in time to the nanosecond, as text (RFC 3339) and as two numbers: a double holds only microseconds of today. */
import { fail, ok, type Result } from '../core/result.ts';

/** Seconds since 1970 UTC (negative before), and 0 to 999,999,999 nanoseconds. */
export type Instant = { readonly seconds: number; readonly nanoseconds: number };

const PATTERN = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

const DAYS_OF_MONTHS: readonly number[] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** RFC 3339 with up to nine digits after the point, each of which counts. Leap seconds are refused: no API sends them. */
export function parseInstant(text: string): Result<Instant> {
  const match = PATTERN.exec(text);
  if (match === null) return notATime(text);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const offsetHours = Number(match[9] ?? 0);
  const offsetMinutes = Number(match[10] ?? 0);
  const isValid =
    month >= 1 && month <= 12 && day >= 1 && day <= daysOfMonth(year, month) && hour < 24 && minute < 60 && second < 60;
  if (!isValid || offsetHours > 23 || offsetMinutes > 59) return notATime(text);
  const offset = (offsetHours * 60 + offsetMinutes) * 60 * (match[8] === '-' ? -1 : 1);
  const seconds = daysFromCivil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
  return ok({ seconds, nanoseconds: Number((match[7] ?? '').padEnd(9, '0')) });
}

function notATime(text: string): Result<never> {
  return fail('input', `time "${text}"`, 'not a time as in RFC 3339');
}

/** `2026-01-02T03:04:05.678901234Z`, always with nine digits, for the years 0 to 9999. */
export function instantText({ seconds, nanoseconds }: Instant): string {
  const days = Math.floor(seconds / 86_400);
  const rest = seconds - days * 86_400;
  const { year, month, day } = civilFromDays(days);
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
  const time = `${two(Math.floor(rest / 3600))}:${two(Math.floor(rest / 60) % 60)}:${two(rest % 60)}`;
  return `${date}T${time}.${String(nanoseconds).padStart(9, '0')}Z`;
}

/** Negative, zero or positive as `left` is before, at or after `right`. */
export function compareInstants(left: Instant, right: Instant): number {
  return left.seconds - right.seconds || left.nanoseconds - right.nanoseconds;
}

/** From `from` to `to` in nanoseconds; exact for spans below 104 days. */
export function nanosecondsBetween(from: Instant, to: Instant): number {
  return (to.seconds - from.seconds) * 1_000_000_000 + (to.nanoseconds - from.nanoseconds);
}

/** `ns` is a whole number, negative for an earlier moment. */
export function addNanoseconds({ seconds, nanoseconds }: Instant, ns: number): Instant {
  const total = nanoseconds + (ns % 1_000_000_000);
  const carry = Math.floor(total / 1_000_000_000);
  return { seconds: seconds + Math.trunc(ns / 1_000_000_000) + carry, nanoseconds: total - carry * 1_000_000_000 };
}

function daysOfMonth(year: number, month: number): number {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && isLeap ? 29 : (DAYS_OF_MONTHS[month - 1] ?? 0);
}

/** Days since 1970-01-01 in the Gregorian calendar; years begin in March here, so that the leap day comes last. */
function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month > 2 ? year : year - 1;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

function civilFromDays(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const leaps = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leaps) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}
