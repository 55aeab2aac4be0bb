// What fails now, over all accounts: grouped by what the failures share.
import { html } from './lib.js'
import { accounts } from './api.js'
import { useLive } from './load.js'
import { linkTo } from './route.js'
import { number, t } from './say.js'
import { lookAt } from './session.js'
import { Button, Time, Trouble, Waiting } from './ui.js'
import { advice, reason } from './why.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {Schemas['AccountHealth']} Account */
/** @typedef {{ key: string, by: 'host' | 'time' | 'one', accounts: Account[] }} Incident */

const mostPages = 5
const together = 10 * 60_000
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

/** @param {Account} a */
const kind = a => [a.lastFailure?.error, a.lastFailure?.statusCode ?? a.lastFailure?.detail].join(' ')
/** @param {Account} a */
const since = a => Date.parse(a.since ?? a.createdAt)
/** @param {Account[]} list */
const waiting = list => list.reduce((n, a) => n + a.pending, 0)

/** @template T @param {T[]} list @param {(x: T) => string} by */
const grouped = (list, by) => {
  /** @type {Map<string, T[]>} */
  const all = new Map()
  for (const x of list) all.set(by(x), [...(all.get(by(x)) ?? []), x])
  return [...all.entries()]
}

/** Those that fail alike and began so within minutes of each other. @param {Account[]} list in order of their beginning @returns {Account[][]} */
const runs = list => {
  /** @type {Account[][]} */
  const all = []
  for (const a of list) {
    const run = all.at(-1)
    const last = run?.at(-1)
    if (run && last && since(a) - since(last) <= together) run.push(a)
    else all.push([a])
  }
  return all
}

/**
 * Accounts at one host that fail alike are one incident; of the others those that fail
 * alike since about the same time. @param {Account[]} list @returns {Incident[]}
 */
const incidents = list => {
  /** @type {Incident[]} */
  const all = []
  /** @type {Account[]} */
  const left = []
  for (const [key, of] of grouped(list, a => `${a.callbackHost} ${kind(a)}`)) {
    if (of.length > 1) all.push({ key, by: 'host', accounts: of })
    else left.push(...of)
  }
  for (const [key, of] of grouped(left, kind)) {
    for (const run of runs(of.sort((a, b) => since(a) - since(b)))) all.push({ key: `${key} ${run[0].id}`, by: run.length > 1 ? 'time' : 'one', accounts: run })
  }
  return all.sort((a, b) => waiting(b.accounts) - waiting(a.accounts) || b.accounts.length - a.accounts.length)
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
    <p>${t('errors.accounts', { n: ids.length })}${i.by === 'time' ? '' : html` · <code>${one.callbackHost}</code>`} · ${t('errors.waiting', { n: waiting(i.accounts) })}</p>
    <p class="quiet">${i.by === 'time' ? t('errors.together') : i.by === 'host' ? t('errors.host') : f ? advice(f) : ''}</p>
    <ul class="acts">${i.accounts.slice(0, mostShown).map(a => html`<li key=${a.id}><${Button} kind="plain" onClick=${() => open(a.id)}><code>${a.id}</code><//></li>`)}${ids.length > mostShown && html`<li class="quiet">${t('errors.others', { n: ids.length - mostShown, all: number(ids.length) })}</li>`}
    <li><a class="button" href=${linkTo('replays', { accounts: ids.join(' '), from: new Date(since(first) - hour).toISOString() })}>${t('errors.again')}</a></li></ul>
  </li>`
}
