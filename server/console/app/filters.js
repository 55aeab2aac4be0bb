// What is listed: one search box, and filters as chips. All of it is in the address.
import { html, useState } from './lib.js'
import { refine } from './route.js'
import { t, when } from './say.js'
import { Choice } from './ui.js'
import { reason } from './why.js'

const errors = [
  'DNS_FAILED',
  'CONNECT_FAILED',
  'DESTINATION_REFUSED',
  'TLS_FAILED',
  'TIMEOUT',
  'CONNECTION_LOST',
  'RESPONSE_INVALID',
  'HTTP_STATUS',
  'PAYLOAD_DAMAGED',
  'INTERNAL_ERROR',
]
const hour = 3_600_000
/** @type {Record<string, number>} */
const windows = { hour, day: 24 * hour, week: 7 * 24 * hour }

/** What the API is asked for. @param {Record<string, string>} f @returns {Record<string, string | undefined>} */
export const queryOfFilters = f => ({
  state: f.state,
  channel: f.channel,
  error: f.error,
  status: f.status,
  from: f.from ?? (windows[f.last] ? new Date(Math.floor((Date.now() - windows[f.last]) / 60_000) * 60_000).toISOString() : undefined),
  to: f.to,
})

const known = ['state', 'channel', 'error', 'status', 'last', 'from', 'to']

/** @param {{ query: Record<string, string> }} props */
export const Filters = ({ query }) => {
  const [text, set] = useState(query.q ?? '')
  /** @param {Record<string, string | undefined>} change */
  const only = change => refine({ ...change, cursor: undefined, event: undefined })
  /** @param {Event} e */
  const submit = e => {
    e.preventDefault()
    only({ q: text.trim() || undefined })
  }
  const some = (/** @type {string} */ name, /** @type {string[]} */ values, /** @type {(v: string) => string} */ label) => html`
    <label class="select"><span class="unseen">${t(`filter.${name}`)}</span><select value=${query[name] ?? ''} class=${query[name] ? 'on' : ''} onChange=${(/** @type {any} */ e) => only({ [name]: e.currentTarget.value || undefined })}>
      <option value="">${t(`filter.${name}`)}</option>${values.map(v => html`<option key=${v} value=${v}>${label(v)}</option>`)}</select></label>`
  return html`<div class="filters">
    <form role="search" class="search" onSubmit=${submit}><input type="search" aria-label=${t('search')} placeholder=${t('search.hint')} value=${text} onInput=${(
      /** @type {any} */ e,
    ) => {
      set(e.currentTarget.value)
      if (!e.currentTarget.value) only({ q: undefined })
    }} spellcheck=${false} /></form>
    <${Choice} name=${t('filter.state')} value=${query.state ?? ''} onChange=${(/** @type {string} */ v) => only({ state: v || undefined })}
      options=${['', 'PENDING', 'FAILED', 'DELIVERED', 'CANCELLED'].map(v => ({ value: v, label: v ? t(`delivery.${v}`) : t('filter.all') }))} />
    ${some('channel', ['SMS', 'RCS', 'WHATSAPP'], v => v)}
    ${some('error', errors, v => reason({ error: v }))}
    ${some('last', Object.keys(windows), v => t(`last.${v}`))}
    ${query.from && query.to && html`<button type="button" class="chip" onClick=${() => only({ from: undefined, to: undefined })}>${t('filter.window', { from: when(query.from), to: when(query.to) })} ×</button>`}
    ${query.status && html`<button type="button" class="chip" onClick=${() => only({ status: undefined })}>${t('filter.status', { status: query.status })} ×</button>`}
    ${known.some(name => query[name]) && html`<button type="button" class="plain" onClick=${() => only(Object.fromEntries(known.map(name => [name, undefined])))}>${t('filter.clear')}</button>`}
  </div>`
}
