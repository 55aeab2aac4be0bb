// Why something failed or waits, and what to do about it, in one sentence each.
import { first, lasting, t, when } from './say.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {{ error?: string, detail?: string, statusCode?: number }} Failure */

/** The kind of an answer by its status: the statuses that mean something of their own, then the class. @param {number} status */
const statusKeys = status => [`${status}`, status === 403 ? '401' : '', status === 411 || status === 413 ? '415' : '', `${Math.floor(status / 100)}XX`]

/** @param {string} what @param {Failure} f */
const keysOf = (what, f) =>
  f.error === 'HTTP_STATUS' && f.statusCode
    ? [...statusKeys(f.statusCode).map(s => `${what}.${s}`), `${what}.HTTP_STATUS`]
    : [`${what}.${f.detail}`, `${what}.${f.error}`, `${what}.OTHER`]

/** "its certificate has expired" @param {Failure} f */
export const reason = f => first(keysOf('reason', f), { status: f.statusCode })

/** What the holder of the endpoint can do. @param {Failure} f */
export const advice = f => first(keysOf('advice', f), { status: f.statusCode })

/** Why a delivery is where it is. @param {Schemas['DeliveryDetail']} d */
export const whyDelivery = d => {
  const last = d.attempts.at(-1)
  const values = { n: d.attemptCount, at: when(d.finishedAt ?? d.acceptedAt), reason: last?.error ? reason(last) : '', next: d.nextAttemptAt ? when(d.nextAttemptAt) : '' }
  switch (d.state) {
    case 'DELIVERED':
      return d.attempts.some(a => a.error)
        ? t('why.delivered.late', { ...values, took: lasting(Date.parse(d.finishedAt ?? '') - Date.parse(d.acceptedAt)) })
        : t('why.delivered', { ...values, status: last?.statusCode, took: lasting(last?.durationMs ?? 0) })
    case 'FAILED':
      return t('why.failed', values)
    case 'CANCELLED':
      return t('why.cancelled', values)
  }
  const tried = d.waitingFor === 'PROBE' && d.nextAttemptAt
  const waits = t(tried ? 'waits.PROBE.next' : `waits.${d.waitingFor ?? 'QUEUE'}`, { ...values, other: d.waitingForEventId ?? '' })
  return last?.error ? t('why.failing', { ...values, waits }) : t('why.pending', { waits })
}

/** What is next for a delivery, in a few words. @param {Schemas['Delivery']} d */
export const next = d => {
  if (d.state !== 'PENDING') return ''
  return d.nextAttemptAt ? t('next.at', { at: when(d.nextAttemptAt) }) : t(`next.${d.waitingFor ?? 'QUEUE'}`)
}

/** The endpoint's state in a sentence. @param {Schemas['Health']} h */
export const headline = h => {
  const f = h.lastFailure
  const since = when(h.since)
  switch (h.state) {
    case 'HEALTHY':
      return h.lastSuccess ? t(h.pending > 0 ? 'head.busy' : 'head.healthy', { n: h.pending }) : t('head.new')
    case 'SLOWED':
      return t('head.slowed', { since, n: h.concurrency })
    case 'SUSPENDED':
      return t('head.suspended', { since })
    case 'IDLE':
      return h.lastSuccess || f ? t('head.idle') : t('head.new')
  }
  return f ? t('head.failing', { since, reason: reason(f) }) : t('head.fails', { since })
}

/** What waits, since when, and what comes next. @param {Schemas['Health']} h @param {number} now */
export const outlook = (h, now) => {
  const said = []
  if (h.nextAttemptAt && h.state !== 'HEALTHY') {
    const ms = Date.parse(h.nextAttemptAt) - now
    said.push(ms > 0 ? t('outlook.next', { time: lasting(Math.max(1000, ms)) }) : t('outlook.now'))
  }
  if (h.pending > 0) {
    said.push(h.oldestPendingAt ? t('outlook.wait', { n: h.pending, age: lasting(Math.max(0, now - Date.parse(h.oldestPendingAt))) }) : t('outlook.waiting', { n: h.pending }))
    if (h.oldestPendingAt && h.firstGivenUpAt && h.state !== 'HEALTHY') {
      const age = Date.parse(h.firstGivenUpAt) - Date.parse(h.oldestPendingAt) // at which any of them is
      said.push(t('outlook.givenup', { n: h.pending, age: lasting(age), at: when(h.firstGivenUpAt) }))
    }
  }
  if (h.skipped > 0) said.push(t('outlook.skipped', { n: h.skipped }))
  if (said.length === 0) said.push(t(h.lastHour.acknowledged > 0 ? 'outlook.well' : 'outlook.nothing', { n: h.lastHour.acknowledged }))
  return said.join(' ')
}
