// What fails now, over all accounts: grouped by what the failures share.
import { html } from './lib.js'
import { accounts } from './api.js'
import { incidents, since, waiting } from './incidents.js'
import { useLive } from './load.js'
import { linkTo } from './route.js'
import { number, t } from './say.js'
import { lookAt } from './session.js'
import { Button, Time, Trouble, Waiting } from './ui.js'
import { advice, reason } from './why.js'

/** @typedef {import('./incidents.js').Account} Account */
/** @typedef {import('./incidents.js').Incident} Incident */

const mostPages = 5
const hour = 3_600_000
const mostShown = 20

/** The accounts that fail, the worst first. */
const failing = async () => {
  /** @type {Account[]} */
  const all = []
  let cursor
  for (let i = 0; i < mostPages; i++) {
    const page = await accounts.list({ state: ['FAILING', 'PROBING', 'SUSPENDED'], cursor, limit: 100 })
    all.push(...page.accounts)
    cursor = page.nextCursor
    if (!cursor) break
  }
  return { all, more: Boolean(cursor) }
}

/** @param {{ onAccount: () => void }} props */
export const Errors = ({ onAccount }) => {
  const live = useLive(failing, 10_000, [])
  const found = live.data ? incidents(live.data.all) : []
  return html`<h1>${t('nav.errors')}</h1><p class="lead">${t('errors.lead')}</p>
    <${Trouble} error=${live.error} />
    ${
      !live.data
        ? !live.error && html`<${Waiting} />`
        : found.length === 0
          ? html`<div class="nothing"><p>${t('errors.none')}</p></div>`
          : html`<ol class="incidents">${found.map(i => html`<${Shown} key=${i.key} i=${i} onAccount=${onAccount} />`)}</ol>`
    }
    ${live.data?.more && html`<p class="quiet">${t('errors.more', { n: live.data.all.length })}</p>`}`
}

/** The host of an incident, or how many hosts and their address. @param {{ i: Incident }} props */
const Where = ({ i }) => {
  const [one] = i.accounts
  if (i.by === 'host' || i.by === 'one') return html`<code>${one.callbackHost}</code>`
  const hosts = t('errors.hosts', { n: new Set(i.accounts.map(a => a.callbackHost)).size })
  return i.by === 'address' ? html`${hosts} · <code>${one.lastFailure?.address}</code>` : hosts
}

/** @param {{ i: Incident, onAccount: () => void }} props */
const Shown = ({ i, onAccount }) => {
  const [one] = i.accounts
  const first = i.accounts.reduce((a, b) => (since(a) <= since(b) ? a : b))
  const f = one.lastFailure
  const ids = i.accounts.map(a => a.id)
  /** @param {string} id */
  const open = id => {
    lookAt(id)
    location.hash = linkTo('status')
    onAccount()
  }
  return html`<li class="card incident">
    <header><h2>${f ? reason(f) : t(`state.${one.state}`)}</h2><div class="note">${t('errors.since')} <${Time} at=${first.since} /></div></header>
    <p>${t('errors.accounts', { n: ids.length })} · <${Where} i=${i} /> · ${t('errors.waiting', { n: waiting(i.accounts) })}</p>
    <p class="quiet">${i.by !== 'one' ? t(`errors.by.${i.by}`) : f ? advice(f) : ''}</p>
    <ul class="acts">${i.accounts.slice(0, mostShown).map(a => html`<li key=${a.id}><${Button} kind="plain" onClick=${() => open(a.id)}><code>${a.id}</code><//></li>`)}${ids.length > mostShown && html`<li class="quiet">${t('errors.others', { n: ids.length - mostShown, all: number(ids.length) })}</li>`}
    <li><a class="button" href=${linkTo('replays', { accounts: ids.join(' '), from: new Date(since(first) - hour).toISOString() })}>${t('errors.again')}</a></li></ul>
  </li>`
}
