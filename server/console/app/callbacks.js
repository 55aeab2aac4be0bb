// The callbacks: a row for each message, its events as dots in order.
import { html, useRef, useState } from './lib.js'
import { deliveries } from './api.js'
import { Export } from './export.js'
import { Filters, queryOfFilters } from './filters.js'
import { useAct, useLive } from './load.js'
import { byMessage, find } from './search.js'
import { linkTo, refine } from './route.js'
import { has, t } from './say.js'
import { useScrolling } from './scrolling.js'
import { Button, Time, Trouble, Waiting } from './ui.js'
import { next, reason } from './why.js'
import { Why } from './drawer.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {import('./search.js').Message} Message */

// So many events are read every few seconds: more than a window has room for.
const liveEvents = 50

/** @param {{ query: Record<string, string> }} props */
export const Callbacks = ({ query }) => {
  const listed = JSON.stringify({ ...query, event: undefined })
  return html`<h1 class="unseen">${t('nav.callbacks')}</h1>
    <${Filters} query=${query} />
    <${List} key=${listed} query=${query} />`
}

/** @param {{ query: Record<string, string> }} props */
const List = ({ query }) => {
  const { event, q, ...filters } = query
  const list = useRef(/** @type {HTMLElement | null} */ (null))
  /** @param {string} [cursor] */
  const read = cursor => (q ? find(q, queryOfFilters(filters), cursor) : deliveries.list({ ...queryOfFilters(filters), cursor, limit: cursor ? 100 : liveEvents, payload: true }))
  const s = useScrolling(read, list)
  const live = useLive(() => read(), q || s.gone ? 0 : 4000, [])
  s.follow(live.data)
  const reload = () => (s.gone ? s.again() : live.reload())
  const newest = () => {
    scrollTo(0, 0)
    s.back()
  }
  const [chosen, choose] = useState(/** @type {Set<string>} */ (new Set()))
  const pageOf = new Map(s.pages.flatMap((p, i) => p.deliveries.map(d => [d.eventId, s.from + i])))
  const messages = byMessage(s.pages.flatMap(p => p.deliveries))
  return html`<${Trouble} error=${s.error ?? live.error} />
    <div class="tools"><p class="quiet" role="status">${live.loading ? t('loading') : s.gone ? t('list.older') : q ? t(s.more ? 'list.sofar' : 'list.found', { n: messages.length }) : html`<span class="lamp live" aria-hidden="true"></span> ${t('list.live')}`}</p>
      <${Again} chosen=${chosen} clear=${() => choose(new Set())} reload=${reload} /><${Export} filters=${queryOfFilters(filters)} q=${q} /></div>
    ${
      s.pages.length === 0
        ? !live.error && html`<${Waiting} />`
        : messages.length === 0
          ? html`<${Nothing} query=${query} more=${s.more} />`
          : html`<ul ref=${list} class="messages" style=${{ paddingTop: `${s.above}px`, paddingBottom: `${s.below}px` }} aria-label=${t('nav.callbacks')}>${messages.map(
              m => html`<${Row} key=${m.id} m=${m} page=${pageOf.get(m.events[m.events.length - 1].eventId)} query=${query} chosen=${chosen} choose=${choose} />`,
            )}</ul>`
    }
    <nav class="pager" aria-label=${t('pager')}>
      ${s.gone && html`<${Button} onClick=${newest}>${t('pager.newest')}<//>`}
      ${s.more && html`<${Button} busy=${s.busy} onClick=${() => s.older()}>${t('pager.older')}<//>`}
    </nav>
    ${event && html`<${Why} key=${event} id=${event} onClose=${() => refine({ event: undefined })} onChange=${reload} />`}`
}

/** @param {{ query: Record<string, string>, more: boolean }} props */
const Nothing = ({
  query,
  more,
}) => html`<div class="nothing"><p>${t(more ? 'list.nothere' : query.q ? 'list.notfound' : Object.keys(query).length ? 'list.nothing' : 'list.empty', { q: query.q })}</p>
  ${!more && !query.q && !Object.keys(query).length && html`<a class="button" href=${linkTo('setup')}>${t('list.test')}</a>`}</div>`

/** @param {{ m: Message, page: number, query: Record<string, string>, chosen: Set<string>, choose: (s: Set<string>) => void }} props */
const Row = ({ m, page, query, chosen, choose }) => {
  const last = m.events[m.events.length - 1]
  const ended = m.events.filter(d => d.state !== 'PENDING').map(d => d.eventId)
  const all = ended.length > 0 && ended.every(id => chosen.has(id))
  const toggle = () => {
    const now = new Set(chosen)
    for (const id of ended) all ? now.delete(id) : now.add(id)
    choose(now)
  }
  const worst = m.events.find(d => d.state === 'FAILED') ?? m.events.find(d => d.state === 'PENDING') ?? last
  return html`<li class="message" data-id=${m.id} data-page=${page}>
    <input type="checkbox" checked=${all} disabled=${ended.length === 0} onChange=${toggle} aria-label=${t('list.choose', { id: m.name })} />
    <a class="row" href=${linkTo('callbacks', { ...query, event: worst.eventId })}>
      <span class="dots">${m.events.map(d => html`<${Dot} key=${d.eventId} d=${d} />`)}</span>
      <span class="ids"><strong>${m.name}</strong><small>${m.about}</small></span>
      <span class="told">${m.status && html`<span>${has(`status.${m.status}`) ? t(`status.${m.status}`) : m.status}</span>`}<small>${m.channel}</small></span>
      <${Last} d=${worst} />
      <${Time} at=${last.acceptedAt} />
    </a></li>`
}

/** @param {{ d: Schemas['Delivery'] }} props */
const Last = ({
  d,
}) => html`<span class=${`last ${d.state}`}><span>${d.lastError ? reason({ error: d.lastError, detail: d.lastDetail, statusCode: d.lastStatusCode }) : d.lastStatusCode ? t('list.answered', { status: String(d.lastStatusCode) }) : t(`delivery.${d.state}`)}</span>
  <small>${d.state === 'PENDING' ? next(d) : d.attemptCount > 1 ? t('list.attempts', { n: d.attemptCount }) : ''}</small></span>`

/** @param {{ d: Schemas['Delivery'], here?: boolean }} props */
export const Dot = ({ d, here = false }) => {
  const status = d.payload?.status
  const said = `${status ? `${has(`status.${status}`) ? t(`status.${status}`) : status}: ` : ''}${t(`delivery.${d.state}`)}`
  return html`<span class=${`dot ${d.state} ${d.state === 'PENDING' && d.lastError ? 'failing' : ''} ${here ? 'here' : ''}`} role="img" aria-label=${said} title=${said}></span>`
}

/** @param {{ chosen: Set<string>, clear: () => void, reload: () => Promise<void> }} props */
const Again = ({ chosen, clear, reload }) => {
  const act = useAct(async () => {
    for (const id of chosen) await deliveries.replay(id)
    clear()
    await reload()
    return true
  })
  return html`${chosen.size > 0 && html`<${Button} kind="primary" busy=${act.busy} onClick=${act.run}>${t('list.again', { n: chosen.size })}<//>`}
    <${Trouble} error=${act.error} />`
}
