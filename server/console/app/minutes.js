// The last day minute by minute, read once and then followed; and how it is shown, in steps
// of a few minutes.
import { webhook } from './api.js'
import { useRef } from './lib.js'
import { useLive } from './load.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {{ from: number, to: number, acknowledged: number, failed: number, errors: Map<Schemas['AttemptError'], number>, p50: number | null, p95: number | null, pending: number }} Step */

const minute = 60_000
export const day = 1440 * minute
export const step = 5 * minute

/**
 * What was known, with what has been told since. @param {Schemas['HealthMinutes'] | null} before @param {Schemas['HealthMinutes']} next
 * @returns {Schemas['HealthMinutes']}
 */
const followed = (before, next) => {
  if (!before || Date.parse(next.from) > Date.parse(before.to)) return next
  const kept = before.minutes.filter(m => Date.parse(m.at) < Date.parse(next.from))
  return { ...next, from: before.from, pending: before.pending, minutes: [...kept, ...next.minutes] }
}

/** The minutes of the last day; null without a webhook. */
export const useMinutes = () => {
  const known = useRef(/** @type {Schemas['HealthMinutes'] | null} */ (null))
  return useLive(
    async () => {
      const told = await webhook.minutes(known.current ? { from: new Date(Date.parse(known.current.to) - minute).toISOString() } : {})
      known.current = told && followed(known.current, told)
      return known.current
    },
    10_000,
    [],
  )
}

/** The greater of two that may be unknown. @param {number | null} a @param {number | null} b */
const most = (a, b) => (a === null ? b : b === null ? a : Math.max(a, b))

/** The steps of the last day, the oldest first. @param {Schemas['HealthMinutes']} m @returns {Step[]} */
export const steps = m => {
  const end = Math.ceil(Date.parse(m.to) / step) * step
  /** @type {Step[]} */
  const all = []
  let at = 0
  let pending = m.pending
  for (let from = end - day; from < end; from += step) {
    /** @type {Step} */
    const s = { from, to: from + step, acknowledged: 0, failed: 0, errors: new Map(), p50: null, p95: null, pending }
    for (; at < m.minutes.length && Date.parse(m.minutes[at].at) < s.to; at++) {
      const now = m.minutes[at]
      pending = now.pending
      if (Date.parse(now.at) < from) continue
      s.pending = Math.max(s.pending, pending)
      s.acknowledged += now.acknowledged
      s.failed += now.failed
      s.p50 = most(s.p50, now.answerTimeMs.p50)
      s.p95 = most(s.p95, now.answerTimeMs.p95)
      for (const e of now.errors) s.errors.set(e.error, (s.errors.get(e.error) ?? 0) + e.attempts)
    }
    all.push(s)
  }
  return all
}
