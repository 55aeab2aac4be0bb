// How the service does: one number, and what it stands on.
import { html } from './lib.js'
import { service } from './api.js'
import { useClock, useLive } from './load.js'
import { linkTo } from './route.js'
import { bytes, lasting, number, t } from './say.js'
import { Card, Time, Trouble, Waiting } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const late = 5000
const tooLate = 60_000

export const Now = () => {
  const live = useLive(service.status, 2000, [])
  useClock(1000)
  const s = live.data
  if (!s) return live.error ? html`<${Trouble} error=${live.error} />` : html`<${Waiting} />`
  return html`<${Oldest} s=${s} /><${Trouble} error=${live.error} />
    <div class="two"><${Minute} s=${s} /><${AtWork} s=${s} /></div>
    <div class=${s.nodes ? 'two' : ''}><${Stands} s=${s} />${s.nodes && html`<${Nodes} nodes=${s.nodes} />`}</div>`
}

/** @param {{ s: Schemas['ServiceStatus'] }} props */
const Oldest = ({ s }) => {
  const age = s.oldestDueAt ? Math.max(0, Date.parse(s.at) - Date.parse(s.oldestDueAt)) : 0
  const how = !s.attempting || age > tooLate ? 'bad' : age > late ? 'warn' : 'ok'
  return html`<section class=${`hero ${how}`} aria-label=${t('nav.now')}>
    <p class="state"><span class="lamp" aria-hidden="true"></span>${t('now.oldest')}</p>
    <h1 class="number">${age < 1000 ? t('now.less') : lasting(age)}</h1>
    <p class="lead">${t(!s.attempting ? 'now.stopped' : s.oldestDueAt ? 'now.due' : 'now.none')}</p>
    ${how !== 'ok' && s.attempting && html`<p class="lead advice">${t(s.slots.inUse >= s.slots.most ? 'now.full' : 'now.look')}</p>`}
  </section>`
}

/** @param {{ name: string, children?: any }} props */
const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`

/** How many a second. @param {number} n in a minute */
const rate = n => t('now.rate', { rate: number(Math.round(n / 6) / 10) })

/** @param {{ s: Schemas['ServiceStatus'] }} props */
const Minute = ({ s: { lastMinute: m, slots, unrecorded } }) => html`<${Card} name=${t('now.minute')}>
  <dl class="facts numbers">
    <${Fact} name=${t('now.accepted')}>${rate(m.accepted)}<//>
    <${Fact} name=${t('outcomes.acknowledged')}>${rate(m.acknowledged)}<//>
    <${Fact} name=${t('outcomes.failed')}>${rate(m.failed)}<//>
    <${Fact} name=${t('now.commit')}>${m.commitMs.mean === null ? '–' : t('now.commits', { mean: lasting(m.commitMs.mean), longest: lasting(m.commitMs.longest ?? 0) })}<//>
    <${Fact} name=${t('now.slots')}>${t('now.of', { n: slots.inUse, all: number(slots.most) })}<meter min="0" max=${slots.most} value=${slots.inUse} aria-label=${t('now.slots')}></meter><//>
    <${Fact} name=${t('now.unrecorded')}>${number(unrecorded)}<//>
  </dl><//>`

/** @param {{ s: Schemas['ServiceStatus'] }} props */
const AtWork = ({ s: { accounts: a, pending } }) => html`<${Card} name=${t('now.accounts')}>
  <dl class="facts numbers">
    <${Fact} name=${t('now.pending')}>${number(pending)}<//>
    <${Fact} name=${t('state.HEALTHY')}>${number(a.healthy)}<//>
    <${Fact} name=${t('now.suspect')}>${number(a.suspect)}<//>
    <${Fact} name=${t('state.PROBING')}><a href=${linkTo('accounts', { state: 'PROBING' })}>${number(a.probing)}</a><//>
    <${Fact} name=${t('state.SUSPENDED')}><a href=${linkTo('accounts', { state: 'SUSPENDED' })}>${number(a.suspended)}</a><//>
  </dl><//>`

/** @param {{ s: Schemas['ServiceStatus'] }} props */
const Stands = ({ s: { disk, damaged, version } }) => html`<${Card} name=${t('now.stands')}>
  <dl class="facts numbers">
    ${
      disk &&
      html`<${Fact} name=${t('now.bytes')}>${bytes(disk.bytes)}<//>
    <${Fact} name=${t('now.free')}>${disk.freeBytes === null ? '–' : bytes(disk.freeBytes)}<//>
    <${Fact} name=${t('now.backup')}>${disk.backedUpAt ? html`<${Time} at=${disk.backedUpAt} />` : t('now.never')}<//>`
    }
    <${Fact} name=${t('now.damaged')}><span class=${damaged > 0 ? 'bad' : ''}>${number(damaged)}</span><//>
    <${Fact} name=${t('now.version')}>${version}<//>
  </dl><//>`

/** @param {{ nodes: Schemas['StoreNodes'] }} props */
const Nodes = ({ nodes }) => html`<${Card} name=${t('now.nodes')} note=${t('now.nodes.note')}>
  <dl class="facts numbers">
    <${Fact} name=${t('now.live')}>${number(nodes.live)}<//>
    <${Fact} name=${t('now.shards')}>${t('now.of', { n: nodes.shards, all: 256 })}<//>
  </dl><//>`
