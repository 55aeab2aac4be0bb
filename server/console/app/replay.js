// Sending again what has ended: choose which, see how many, start, watch, stop.
import { html, useState } from './lib.js'
import { deliveries, replays, webhook } from './api.js'
import { States } from './band.js'
import { useAct, useLive } from './load.js'
import { filtersOf, local, Replaying, told, Which } from './replaying.js'
import { lasting, number, t } from './say.js'
import { Button, Card, Trouble } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const hour = 3_600_000
const mostPages = 50

/** The last outage, if there was one: from the first bad state to the last change. @returns {Promise<{ from: number, to: number }>} */
const lastOutage = async () => {
  const changes = (await webhook.changes({ limit: 50 }))?.changes ?? []
  const now = Date.now()
  const bad = ['FAILING', 'PROBING', 'SUSPENDED']
  const last = changes.findIndex(c => bad.includes(c.to))
  if (last < 0) return { from: now - 24 * hour, to: now + 60_000 }
  let first = last
  while (first + 1 < changes.length && (bad.includes(changes[first + 1].to) || Date.parse(changes[first].at) - Date.parse(changes[first + 1].at) < hour)) first++
  return { from: Date.parse(changes[first].at) - hour, to: last > 0 ? Date.parse(changes[last - 1].at) + 60_000 : now + 60_000 }
}

/** How many a filter lists, as far as that is counted. @param {Schemas['ReplayFilters']} filters */
const count = async filters => {
  let n = 0
  let cursor
  for (let i = 0; i < mostPages; i++) {
    const page = await deliveries.list({ ...filters, cursor, limit: 100 })
    n += page.deliveries.length
    cursor = page.nextCursor
    if (!cursor) return { n, more: false }
  }
  return { n, more: true }
}

/** @param {Schemas['Replay']} r */
const progress = r => {
  const left = r.rate > 0 ? (r.remaining / r.rate) * 1000 : 0
  return html`${r.state === 'COUNTING' ? t('replay.counting') : t('replay.progress', { n: r.sentAgain, all: r.matched })} ${left > 0 && r.state === 'RUNNING' && html`<span class="quiet">${t('replay.left', { time: lasting(left), rate: number(Math.round(r.rate)) })}</span>`}`
}

/** @param {{ query: Record<string, string> }} props */
export const Replay = ({ query }) =>
  html`<${Replaying} title=${t('nav.replay')} lead=${t('replay.lead')} list=${replays.list} stop=${replays.stop} start=${Start} progress=${progress} note=${(/** @type {Schemas['Replay']} */ r) => told(r.filters)} query=${query} />`

/** @param {{ query: Record<string, string>, disabled: boolean, reload: () => Promise<void> }} props */
const Start = ({ query, disabled, reload }) => {
  const outage = useLive(lastOutage, 0, [])
  const health = useLive(webhook.health, 0, [])
  const [state, setState] = useState(/** @type {import('./replaying.js').Ended} */ ('FAILED'))
  const [from, setFrom] = useState(query.from ? local(Date.parse(query.from) - hour) : '')
  const [to, setTo] = useState(query.to ? local(Date.parse(query.to)) : '')
  const begin = from || (outage.data ? local(outage.data.from) : '')
  const end = to || (outage.data ? local(outage.data.to) : '')
  const filters = () => filtersOf(state, begin, end)
  const counted = useLive(async () => (begin && end ? count(filters()) : undefined), 0, [state, begin, end, disabled])
  const start = useAct(async () => {
    await replays.start(filters())
    await reload()
  })
  const n = counted.data?.n ?? 0
  return html`<${Card} name=${t('replay.choose')}>
    ${health.data && html`<div class="outages"><${States} state=${health.data.state} page="replay" /><p class="quiet">${t('replay.band')}</p></div>`}
    <${Which} state=${state} setState=${setState} from=${begin} setFrom=${setFrom} to=${end} setTo=${setTo} />
    <p role="status"><strong>${counted.loading ? t('replay.counting') : t(counted.data?.more ? 'replay.more' : 'replay.some', { n })}</strong></p>
    <${Button} kind="primary" disabled=${disabled || n === 0} busy=${start.busy} onClick=${start.run}>${t('replay.start')}<//>
    ${disabled && html`<p class="quiet">${t('replay.one')}</p>`}
    <${Trouble} error=${start.error ?? counted.error} />
  <//>`
}
