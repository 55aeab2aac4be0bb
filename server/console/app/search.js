// Deliveries by message, and one box that finds a message by any of its ids or its number.
import { deliveries } from './api.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {{ id: string, name: string, about: string, channel: string, status: string, events: Schemas['Delivery'][] }} Message */

/** A text may find an event in two ways, on two pages. @param {Schemas['Delivery'][]} list */
export const onlyOnce = list => new Map(list.map(d => [d.eventId, d])).values()

/** The newest message first; of each the events in order of acceptance. @param {Schemas['Delivery'][]} list @returns {Message[]} */
export const byMessage = list => {
  /** @type {Map<string, Schemas['Delivery'][]>} */
  const all = new Map()
  for (const d of onlyOnce(list)) all.set(d.messageId, [d, ...(all.get(d.messageId) ?? [])])
  return [...all].map(([id, events]) => {
    const told = events.flatMap(d => (d.payload ? [d.payload] : []))
    const best = told.reduce((a, b) => (a && (a.statusRank > b.statusRank || (a.statusRank === b.statusRank && a.sequence > b.sequence)) ? a : b), told[0])
    const own = best?.customerMessageId
    return {
      id,
      events,
      name: own || id,
      channel: best?.channel ?? '',
      status: best?.status ?? '',
      about: [own ? id : '', best?.destination ?? best?.recipientId ?? ''].filter(Boolean).join(' · '),
    }
  })
}

const mostRequests = 20

/**
 * Reads on until there is something to show: a page may be empty and not the last.
 * @param {Record<string, unknown>} query
 */
const listed = async query => {
  let page = await deliveries.list({ ...query, limit: 100, payload: true })
  for (let i = 1; i < mostRequests && page.deliveries.length === 0 && page.nextCursor; i++) {
    page = await deliveries.list({ ...query, cursor: page.nextCursor, limit: 100, payload: true })
  }
  return page
}

/** What a text may be. @param {string} q @returns {Record<string, string>[]} */
const meanings = q => {
  const digits = q.replace(/[\s().-]/g, '').replace(/^00/, '+')
  return [{ messageId: q }, { customerMessageId: q }, ...(/^\+?[1-9]\d{5,14}$/.test(digits) ? [{ destination: `+${digits.replace('+', '')}` }] : [])]
}

/** The event of this id. @param {string} q @returns {Promise<Schemas['DeliveryDetail'] | null>} */
const eventOf = async q => JSON.parse((/^[A-Za-z0-9_-]{1,64}$/.test(q) && (await deliveries.text(q))) || 'null')

/**
 * A page of what a text finds, by all that it may be. The cursor is the queries that have older ones.
 * @param {string} q @param {Record<string, unknown>} filters @param {string} [cursor] @returns {Promise<Schemas['DeliveryList']>}
 */
export const find = async (q, filters, cursor) => {
  const event = cursor ? null : await eventOf(q)
  /** @type {Record<string, string>[]} */
  const asked = cursor ? JSON.parse(cursor) : event ? [{ messageId: event.messageId }] : meanings(q)
  const pages = await Promise.all(asked.map(by => listed({ ...filters, ...by })))
  const older = asked.flatMap((by, i) => (pages[i].nextCursor ? [{ ...by, cursor: pages[i].nextCursor }] : []))
  const found = pages.flatMap(p => p.deliveries)
  if (found.length === 0 && older.length === 0 && event) found.push(event)
  found.sort((a, b) => Date.parse(b.acceptedAt) - Date.parse(a.acceptedAt))
  return { deliveries: [...onlyOnce(found)], nextCursor: older.length > 0 ? JSON.stringify(older) : undefined }
}
