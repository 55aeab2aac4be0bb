// Deliveries by message, and one box that finds a message by any of its ids or its number.
import { deliveries } from './api.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {{ id: string, name: string, about: string, channel: string, status: string, events: Schemas['Delivery'][] }} Message */

/** The newest message first; of each the events in order of acceptance. @param {Schemas['Delivery'][]} list @returns {Message[]} */
export const byMessage = list => {
  /** @type {Map<string, Schemas['Delivery'][]>} */
  const all = new Map()
  for (const d of list) all.set(d.messageId, [d, ...(all.get(d.messageId) ?? [])])
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
 * @param {Record<string, unknown>} query @param {AbortSignal} [signal]
 */
const listed = async (query, signal) => {
  /** @type {Schemas['DeliveryList']} */
  let page = { deliveries: [] }
  let cursor
  for (let i = 0; i < mostRequests && page.deliveries.length === 0 && (i === 0 || cursor); i++) {
    page = await deliveries.list({ ...query, cursor, limit: 100, payload: true }, signal)
    cursor = page.nextCursor
  }
  return page
}

/** What a text may be. @param {string} q @returns {Record<string, string>[]} */
const meanings = q => {
  const digits = q.replace(/[\s().-]/g, '').replace(/^00/, '+')
  return [{ messageId: q }, { customerMessageId: q }, ...(/^\+?[1-9]\d{5,14}$/.test(digits) ? [{ destination: `+${digits.replace('+', '')}` }] : [])]
}

/** @param {string} q @param {Record<string, unknown>} filters @returns {Promise<Schemas['DeliveryList']>} */
export const find = async (q, filters) => {
  const one = /^[A-Za-z0-9_-]{1,64}$/.test(q) ? deliveries.text(q).then(text => (text ? /** @type {Schemas['DeliveryDetail']} */ (JSON.parse(text)) : null)) : null
  const event = await one
  const asked = event ? [{ messageId: event.messageId }] : meanings(q)
  const pages = await Promise.all(asked.map(by => listed({ ...filters, ...by })))
  /** @type {Map<string, Schemas['Delivery']>} */
  const found = new Map()
  for (const d of pages.flatMap(p => p.deliveries)) found.set(d.eventId, d)
  if (found.size === 0 && event) found.set(event.eventId, event)
  return { deliveries: [...found.values()].sort((a, b) => Date.parse(b.acceptedAt) - Date.parse(a.acceptedAt)) }
}
