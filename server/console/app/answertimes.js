// How long the endpoint takes to answer, against the time that an attempt has.
import { html } from './lib.js'
import { Hours } from './band.js'
import { steps } from './minutes.js'
import { lasting, t, when } from './say.js'
import { Card } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const limit = 10_000
const ticks = [1, 10, 100, 1000, limit]

/** From 0 to 100, by the logarithm. @param {number} ms */
const place = ms => Math.min(100, Math.max(0, (Math.log10(Math.max(ms, 1)) / Math.log10(limit * 1.6)) * 100))

/** @param {{ h: Schemas['Health'], minutes?: Schemas['HealthMinutes'] | null }} props */
export const AnswerTimes = ({ h, minutes }) => {
  /** @type {[string, Schemas['AnswerTimes']][]} */
  const rows = [
    ['hour', h.lastHour.answerTimeMs],
    ['day', h.lastDay.answerTimeMs],
    ['week', h.lastWeek.answerTimeMs],
  ]
  return html`<${Card} name=${t('times')} note=${t('times.note')}>
    <div class="times">
      ${rows.map(([name, times]) => html`<div class="row" key=${name}><span class="name">${t(`last.${name}`)}</span><${Line} times=${times} /></div>`)}
      <div class="row axis" aria-hidden="true"><span></span><div class="track">${ticks.map(ms => html`<span key=${ms} class=${ms === limit ? 'limit' : ''} style=${{ left: `${place(ms)}%` }}>${lasting(ms)}</span>`)}</div></div>
    </div>
    ${minutes && h.lastDay.answerTimeMs.p95 !== null && html`<${Through} m=${minutes} worst=${h.lastDay.answerTimeMs.p99 ?? 0} />`}
  <//>`
}

/** The last day's answers, half and 95 of a hundred, below the line at which an attempt ends. @param {{ m: Schemas['HealthMinutes'], worst: number }} props */
const Through = ({ m, worst }) => {
  const all = steps(m)
  return html`<h3>${t('times.day')}</h3>
    <svg class="minutes through" viewBox=${`0 0 ${all.length} 100`} preserveAspectRatio="none" role="img" aria-label=${t('times.through', { p99: lasting(worst) })}>
    <rect class="limit" x="0" width=${all.length} y=${100 - place(limit)} height="1" />
    ${all.map(
      (s, x) =>
        s.p95 !== null &&
        s.p50 !== null &&
        html`<g key=${s.from}><title>${`${when(s.from)}–${when(s.to)}\n50 %: ${lasting(s.p50)}\n95 %: ${lasting(s.p95)}`}</title><rect class="catch" x=${x} width="1" y="0" height="100" />
      <rect class=${s.p95 > limit / 2 ? 'bad' : s.p95 > 1000 ? 'wait' : 'ok'} x=${x} width="1" y=${100 - place(s.p95)} height=${Math.max(3, place(s.p95) - place(s.p50))} /></g>`,
    )}</svg><${Hours} now=${Date.now()} />`
}

/** @param {{ times: Schemas['AnswerTimes'] }} props */
const Line = ({ times }) => {
  const { p50, p95, p99 } = times
  if (p50 === null || p95 === null || p99 === null) return html`<div class="track"><span class="quiet">${t('times.none')}</span></div>`
  const said = t('times.said', { p50: lasting(p50), p95: lasting(p95), p99: lasting(p99) })
  return html`<div class="track" role="img" aria-label=${said} title=${said}>
    <span class="deadline" style=${{ left: `${place(limit)}%` }}></span>
    <span class="range" style=${{ left: `${place(p50)}%`, width: `${place(p99) - place(p50)}%` }}></span>
    <span class=${`mid ${p50 > limit / 2 ? 'bad' : p50 > 1000 ? 'warn' : ''}`} style=${{ left: `${place(p50)}%` }}></span>
    <span class="p95" style=${{ left: `${place(p95)}%` }}></span>
    <span class="value" style=${{ left: `${place(p99)}%` }}>${lasting(p50)}</span>
  </div>`
}
