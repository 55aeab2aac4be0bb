// What happened to a delivery, in order: accepted, each attempt with its phases, the gaps
// between, the events of its message that overtook it, the end or what comes next.
import { html } from './lib.js'
import { Phases } from './phases.js'
import { exactly, lasting, statusOf, t, when } from './say.js'
import { Time } from './ui.js'
import { next, reason } from './why.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

/** Whether an event tells more of the same part of a message. @param {Schemas['StatusEvent']} a @param {Schemas['StatusEvent']} b */
const tellsMore = (a, b) => a.channel === b.channel && a.part === b.part && (a.statusRank - b.statusRank || a.sequence - b.sequence) > 0

/** The later events that were acknowledged while it was on its way. @param {Schemas['DeliveryDetail']} d @param {Schemas['Delivery'][]} siblings */
const overtakers = (d, siblings) =>
  siblings.filter(
    s =>
      s.state === 'DELIVERED' &&
      s.finishedAt &&
      s.payload &&
      d.payload &&
      tellsMore(s.payload, d.payload) &&
      s.finishedAt > d.acceptedAt &&
      (!d.finishedAt || s.finishedAt < d.finishedAt),
  )

/** @param {{ d: Schemas['DeliveryDetail'], siblings: Schemas['Delivery'][] }} props */
export const Timeline = ({ d, siblings }) => {
  const overtook = overtakers(d, siblings)
  let before = Date.parse(d.acceptedAt)
  const rows = d.attempts.map(a => {
    const gap = Date.parse(a.at) - before
    before = Date.parse(a.at) + a.durationMs
    return { a, gap }
  })
  /** @param {string} from @param {string} [to] */
  const between = (from, to) => overtook.filter(s => from <= (s.finishedAt ?? '') && (!to || (s.finishedAt ?? '') < to)).map(s => html`<${Overtaken} key=${s.eventId} s=${s} />`)
  return html`<ol class="timeline">
    <li><span class="dot start" aria-hidden="true"></span><div><p><strong>${t('timeline.accepted')}</strong> <${Moment} at=${d.acceptedAt} /></p></div></li>
    ${between(d.acceptedAt, d.attempts[0]?.at)}
    ${rows.map(({ a, gap }, i) => html`${gap >= 1000 && html`<li class="gap" key=${`gap${a.number}`}><span></span><div>${t('timeline.gap', { time: lasting(gap) })}</div></li>`}<${Attempt} key=${a.number} a=${a} />${between(a.at, rows[i + 1]?.a.at)}`)}
    <${End} d=${d} />
  </ol>`
}

/** The day, unless it is today, and the time to the millisecond. @param {{ at: string }} props */
const Moment = ({ at }) => html`<${Time} at=${at} show=${(/** @type {string} */ x) => (new Date(x).toDateString() === new Date().toDateString() ? exactly(x) : `${when(x)}`)} />`

/** @param {{ a: Schemas['Attempt'] }} props */
const Attempt = ({ a }) => html`<li><span class=${`dot ${a.error ? 'FAILED' : 'DELIVERED'}`} aria-hidden="true"></span><div>
  <p><strong>${t(a.probe ? 'timeline.probe' : 'timeline.attempt', { n: a.number })}</strong> <${Moment} at=${a.at} /></p>
  <p class=${a.error ? 'bad' : 'ok'}>${a.error ? reason(a) : t('list.answered', { status: String(a.statusCode) })} <span class="quiet">${t('timeline.after', { time: lasting(a.durationMs) })}${a.address ? ` · ${a.address}` : ''}</span></p>
  ${a.location && html`<p class="quiet">${t('timeline.location')} <code>${a.location}</code></p>`}
  <${Phases} a=${a} />
  ${a.error && a.response && html`<details><summary>${t('status.answered')}</summary><pre tabindex="0">${a.response}</pre></details>`}
</div></li>`

/** @param {{ s: Schemas['Delivery'] }} props */
const Overtaken = ({ s }) =>
  html`<li><span class="dot DELIVERED" aria-hidden="true"></span><div><p>${t('timeline.overtaken', { status: statusOf(s) })} <${Moment} at=${s.finishedAt ?? ''} /></p></div></li>`

/** @param {{ d: Schemas['DeliveryDetail'] }} props */
const End = ({ d }) => {
  if (d.state === 'PENDING') {
    return html`<li><span class="dot PENDING" aria-hidden="true"></span><div>${d.replayedAt && html`<p>${t('timeline.replayed')} <${Moment} at=${d.replayedAt} /></p>`}<p><strong>${next(d)}</strong></p></div></li>`
  }
  if (d.state === 'DELIVERED') return null
  return html`<li><span class=${`dot ${d.state}`} aria-hidden="true"></span><div><p><strong>${t(`delivery.${d.state}`)}</strong> <${Moment} at=${d.finishedAt ?? d.acceptedAt} /></p></div></li>`
}
