// The last day: what was acknowledged, what failed and what waited, and the states. A bad
// time leads to its callbacks.
import { html } from './lib.js'
import { webhook } from './api.js'
import { useLive } from './load.js'
import { day, steps } from './minutes.js'
import { linkTo } from './route.js'
import { lasting, number, t, when } from './say.js'
import { Card } from './ui.js'
import { reason } from './why.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {import('./minutes.js').Step} Step */
/** @typedef {{ state: string, from: number, to: number }} Span */

const hour = 3_600_000

/**
 * The states that are known of, the oldest first; from when the webhook was made, if that is known.
 * @param {string} state the present one @param {Schemas['HealthChangeList']} list newest first @param {number} made @param {number} now
 */
const spans = (state, list, made, now) => {
  /** @type {Span[]} */
  const all = []
  let end = now
  for (const c of list.changes) {
    all.unshift({ state: c.to, from: Date.parse(c.at), to: end })
    end = Date.parse(c.at)
  }
  return list.nextCursor ? all : [{ state: list.changes.at(-1)?.from ?? state, from: made, to: end }, ...all]
}

/** @type {Record<string, string>} */
export const mood = { HEALTHY: 'ok', SLOWED: 'warn', FAILING: 'bad', PROBING: 'bad', SUSPENDED: 'bad', IDLE: 'idle' }

/** @param {number} ms */
const minute = ms => new Date(ms - (ms % 60_000)).toISOString()

/** @param {{ h: Schemas['Health'], minutes?: Schemas['HealthMinutes'] | null }} props */
export const Band = ({ h, minutes }) => html`<${Card} name=${t('band')} note=${t('band.note')}>
    ${minutes && html`<${Minutes} m=${minutes} />`}
    <${States} state=${h.state} page="callbacks" />
    ${minutes && html`<${BadMinutes} m=${minutes} />`}
  <//>`

/** What fails without a break is one span. @param {Span[]} all */
const outages = all =>
  all.reduce((/** @type {Span[]} */ joined, s) => {
    const last = joined.at(-1)
    if (last && mood[last.state] === 'bad' && mood[s.state] === 'bad') last.to = s.to
    else joined.push({ ...s })
    return joined
  }, [])

/** The states of the last day. A bad one leads to a page, for all of its time, also before that day. @param {{ state: string, page: 'callbacks' | 'replay' }} props */
export const States = ({ state, page }) => {
  const live = useLive(() => Promise.all([webhook.changes({ limit: 100 }), webhook.read()]), 10_000, [state])
  const now = Date.now()
  const [list, w] = live.data ?? []
  const all = w && list ? spans(state, list, Date.parse(w.createdAt), now) : []
  return html`<ol class="band" aria-label=${t('band.states')}>
      ${(page === 'replay' ? outages(all) : all).filter(s => s.to > now - day).map(s => html`<${Part} key=${s.from} s=${s} now=${now} page=${page} />`)}
    </ol>
    <${Hours} now=${now} />`
}

/** @param {{ now: number }} props */
export const Hours = ({ now }) => {
  const hours = [24, 18, 12, 6, 0].map(n => now - n * hour)
  return html`<p class="hours" aria-hidden="true">${hours.map((at, i) => html`<span key=${at}>${i === hours.length - 1 ? t('band.now') : when(at)}</span>`)}</p>`
}

/** @param {{ s: Span, now: number, page: string }} props */
const Part = ({ s, now, page }) => {
  const from = Math.max(s.from, now - day)
  const since = mood[s.state] === 'bad' ? s.from : from
  const said = t('band.said', { state: t(`state.${s.state}`), from: when(since), time: lasting(s.to - since) })
  const width = `${Math.max(0.4, ((s.to - from) / day) * 100)}%`
  const left = `${Math.min(99.6, ((from - (now - day)) / day) * 100)}%`
  const kind = mood[s.state]
  const style = { left, width }
  if (kind !== 'bad') return html`<li class=${kind} style=${style} title=${said}><span class="unseen">${said}</span></li>`
  return html`<li class=${kind} style=${style}><a href=${linkTo(page, { from: minute(s.from), to: minute(s.to + 60_000) })} title=${said} aria-label=${said}></a></li>`
}

// The heights of the picture, from above: acknowledged, failed (hanging, at twice the scale),
// waiting.
const up = 56
const down = 28
const below = 24

/** A length that shows a little beside a lot. @param {number} n @param {number} all @param {number} room */
const length = (n, all, room) => (n > 0 ? Math.min(room, Math.max(4, Math.sqrt(n / all) * room)) : 0)

/** @param {{ m: Schemas['HealthMinutes'] }} props */
const Minutes = ({ m }) => {
  const all = steps(m)
  const sum = (/** @type {(s: Step) => number} */ of) => all.reduce((n, s) => n + of(s), 0)
  const most = (/** @type {(s: Step) => number} */ of) => all.reduce((n, s) => Math.max(n, of(s)), 0)
  const [acknowledged, failed, waited] = [sum(s => s.acknowledged), sum(s => s.failed), most(s => s.pending)]
  const scale = Math.max(
    most(s => s.acknowledged),
    most(s => s.failed),
  )
  const bars = all.flatMap((s, x) => {
    if (s.acknowledged + s.failed + s.pending === 0) return []
    const [a, f, w] = [length(s.acknowledged, scale, up), length(2 * s.failed, scale, down), length(s.pending, waited, below)]
    return [{ s, x, a, f, w }]
  })
  return html`<dl class="legend sums">
      <div class="ok"><dt>${t('outcomes.acknowledged')}</dt><dd>${number(acknowledged)}</dd></div>
      <div class="bad"><dt>${t('outcomes.failed')}</dt><dd>${number(failed)}</dd></div>
      <div class="wait"><dt>${t('band.waited')}</dt><dd>${number(waited)}</dd></div></dl>
    <svg class="minutes" viewBox=${`0 0 ${all.length} ${up + down + below}`} preserveAspectRatio="none" aria-hidden="true">
    <rect class="base" x="0" width=${all.length} y=${up - 0.5} height="1" />
    ${bars.map(
      ({ s, x, a, f, w }) => html`<g key=${s.from}><title>${told(s)}</title><rect class="catch" x=${x} width="1" y="0" height="100%" />
      <rect class="ok" x=${x} width="0.86" y=${up - a} height=${a} /><rect class="bad" x=${x} width="0.86" y=${up} height=${f} /><rect class="wait" x=${x} width="1" y=${up + down + below - w} height=${w} /></g>`,
    )}
  </svg>`
}

/** @param {Step} s */
const told = s => {
  const failed = [...s.errors].map(([error, n]) => `${reason({ error })}: ${number(n)}`)
  return [
    `${when(s.from)}–${when(s.to)}`,
    `${t('outcomes.acknowledged')}: ${number(s.acknowledged)}`,
    `${t('outcomes.failed')}: ${number(s.failed)}`,
    ...failed,
    `${t('band.waited')}: ${number(s.pending)}`,
  ].join('\n')
}

const mostShown = 12

/** The last minutes with failures, each with its callbacks. @param {{ m: Schemas['HealthMinutes'] }} props */
const BadMinutes = ({ m }) => {
  const bad = m.minutes
    .filter(x => x.failed > 0)
    .slice(-mostShown)
    .reverse()
  if (bad.length === 0) return null
  return html`<details class="bads"><summary>${t('band.bad', { n: bad.length })}</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${t('band.bad', { n: bad.length })}><table class="counts"><thead><tr><th>${t('band.minute')}</th><th>${t('outcomes.acknowledged')}</th><th>${t('outcomes.failed')}</th><th>${t('band.waited')}</th><th class="text">${t('band.how')}</th></tr></thead>
    <tbody>${bad.map(
      x => html`<tr key=${x.at}><th scope="row"><a href=${linkTo('callbacks', { from: minute(Date.parse(x.at) - hour), to: minute(Date.parse(x.at) + 60_000) })}>${when(x.at)}</a></th>
      <td>${number(x.acknowledged)}</td><td>${number(x.failed)}</td><td>${number(x.pending)}</td><td class="text">${x.errors.map(e => reason({ error: e.error })).join(', ')}</td></tr>`,
    )}</tbody></table></div></details>`
}
