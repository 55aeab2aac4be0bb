// How the endpoint does: one sentence in large type, and what to do.
import { html, useState } from './lib.js'
import { webhook } from './api.js'
import { Band, mood } from './band.js'
import { AnswerTimes } from './answertimes.js'
import { Diagnosis } from './diagnosis.js'
import { useAct, useClock, useLive } from './load.js'
import { useMinutes } from './minutes.js'
import { linkTo } from './route.js'
import { number, percent, t } from './say.js'
import { Button, Card, Time, Trouble, Waiting } from './ui.js'
import { advice, headline, outlook, reason } from './why.js'
import { FirstUse, useFirstUse } from './setup.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const ill = ['FAILING', 'PROBING', 'SUSPENDED']

export const Status = () => {
  const live = useLive(webhook.health, 5000, [])
  const minutes = useMinutes()
  const first = useFirstUse()
  const h = live.data
  if (h === undefined) return live.error ? html`<${Trouble} error=${live.error} />` : html`<${Waiting} />`
  if (first.stays(h === null) || h === null) return html`<${FirstUse} onDone=${() => first.end(live.reload)} />`
  return html`<${Hero} h=${h} reload=${live.reload} /><${Trouble} error=${live.error} />
    <${Band} h=${h} minutes=${minutes.data} />
    <div class="two"><${AnswerTimes} h=${h} minutes=${minutes.data} /><${Outcomes} h=${h} /></div>
    <${Changes} />`
}

/** @param {{ h: Schemas['Health'], reload: () => Promise<void> }} props */
const Hero = ({ h, reload }) => {
  const now = useClock(1000)
  const f = ill.includes(h.state) ? h.lastFailure : undefined
  return html`<section class=${`hero ${mood[h.state]}`} aria-label=${t('nav.status')}>
    <p class="state"><span class="lamp" aria-hidden="true"></span>${t(`state.${h.state}`)}</p>
    <h1>${headline(h)}</h1>
    <p class="lead">${outlook(h, now)}</p>
    ${f && html`<p class="lead advice">${advice(f)}</p>`}
    ${f?.response && html`<details><summary>${t('status.answered')}</summary><pre tabindex="0">${f.response}</pre></details>`}
    <${Acts} h=${h} reload=${reload} />
  </section>`
}

/** @param {{ h: Schemas['Health'], reload: () => Promise<void> }} props */
const Acts = ({ h, reload }) => {
  const [shown, show] = useState(/** @type {Schemas['Diagnosis'] | undefined} */ (undefined))
  const probe = useAct(async () => {
    await webhook.probe()
    setTimeout(reload, 1200)
    return true
  })
  const test = useAct(async () => show(await webhook.test({})))
  const resume = useAct(async () => {
    const w = await webhook.read()
    if (w) await webhook.replace(w.callbackUrl)
    await reload()
  })
  return html`<div class="acts">
    ${h.state === 'PROBING' && html`<${Button} kind="primary" busy=${probe.busy} onClick=${probe.run}>${t('act.probe')}<//>`}
    ${['FAILING', 'SUSPENDED'].includes(h.state) && html`<${Button} kind="primary" busy=${resume.busy} onClick=${resume.run}>${t('act.resume')}<//>`}
    <${Button} kind=${ill.includes(h.state) ? '' : 'primary'} busy=${test.busy} onClick=${test.run}>${t('act.test')}<//>
    <a class="button" href=${linkTo('callbacks', { state: ill.includes(h.state) ? 'PENDING' : undefined })}>${t('act.callbacks')}</a>
    <a class="button" href=${linkTo('replay')}>${t('act.again')}</a>
  </div>
  <${Trouble} error=${probe.error ?? test.error ?? resume.error} />
  ${probe.result && html`<p class="quiet" role="status">${t('act.probing')}</p>`}
  ${shown && html`<${Diagnosis} d=${shown} onClose=${() => show(undefined)} />`}`
}

/** @param {{ h: Schemas['Health'] }} props */
const Outcomes = ({ h }) => {
  /** @type {[string, Schemas['AttemptCounts']][]} */
  const rows = [
    ['hour', h.lastHour],
    ['day', h.lastDay],
    ['week', h.lastWeek],
  ]
  return html`<${Card} name=${t('outcomes')}>
    <table class="counts"><thead><tr><th><span class="unseen">${t('outcomes.time')}</span></th><th>${t('outcomes.acknowledged')}</th><th>${t('outcomes.failed')}</th><th>${t('outcomes.share')}</th></tr></thead>
    <tbody>${rows.map(([name, c]) => html`<tr key=${name}><th scope="row">${t(`last.${name}`)}</th><td>${number(c.acknowledged)}</td><td>${number(c.failed)}</td><td>${percent(c.acknowledgedShare)}</td></tr>`)}</tbody></table>
    ${
      h.lastDay.errors.length > 0 &&
      html`<h3>${t('outcomes.errors')}</h3><ul class="errors">${h.lastDay.errors.map(
        e => html`<li key=${e.error}>
      <a href=${linkTo('callbacks', { error: e.error })}>${reason({ error: e.error })}</a> <span>${number(e.attempts)}</span></li>`,
      )}</ul>`
    }
  <//>`
}

const Changes = () => {
  const live = useLive(() => webhook.changes({ limit: 8 }), 15_000, [])
  const changes = live.data?.changes ?? []
  if (changes.length === 0) return null
  return html`<${Card} name=${t('changes')}><ol class="changes">${changes.map(
    (/** @type {Schemas['HealthChange']} */ c) => html`<li key=${c.at + c.to}>
    <${Time} at=${c.at} /> <span class=${`dot ${mood[c.to]}`} aria-hidden="true"></span> <span>${t(`state.${c.to}`)}${c.error ? `: ${reason(c)}` : ''}</span></li>`,
  )}</ol><//>`
}
