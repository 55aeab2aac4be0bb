// What is listed, as a file.
import { html } from './lib.js'
import { deliveries } from './api.js'
import { useAct } from './load.js'
import { find, onlyOnce } from './search.js'
import { t } from './say.js'
import { Button, Trouble } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const mostLines = 100_000

/** All lines of a listing, as many as a tab should hold; or what a search finds. @param {Record<string, unknown>} filters @param {string} [q] */
const linesOf = async (filters, q) => {
  /** @type {string | undefined} */
  let cursor
  if (q) {
    /** @type {Schemas['Delivery'][]} */
    const found = []
    do {
      const page = await find(q, filters, cursor)
      found.push(...page.deliveries)
      cursor = page.nextCursor
    } while (cursor && found.length < mostLines)
    return [...onlyOnce(found)].map(d => JSON.stringify(d))
  }
  /** @type {string[]} */
  const lines = []
  do {
    const read = (await deliveries.lines({ ...filters, cursor, payload: true })).split('\n').filter(Boolean)
    const last = read.length > 0 ? JSON.parse(read[read.length - 1]) : {}
    cursor = last.eventId ? undefined : last.nextCursor
    lines.push(...(cursor ? read.slice(0, -1) : read))
  } while (cursor && lines.length < mostLines)
  return lines
}

const columns = [
  'eventId',
  'messageId',
  'customerMessageId',
  'channel',
  'destination',
  'status',
  'state',
  'attemptCount',
  'acceptedAt',
  'finishedAt',
  'lastError',
  'lastDetail',
  'lastStatusCode',
]

/** A cell that no spreadsheet takes for a formula. @param {unknown} value */
const cell = value => {
  const text = String(value ?? '')
  const safe = /^[=+\-@\t\r]/.test(text) && !/^\+\d+$/.test(text) ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** @param {string[]} lines */
const asCSV = lines =>
  [
    columns.join(','),
    ...lines.map(line => {
      const d = JSON.parse(line)
      return columns.map(c => cell(c in d ? d[c] : d.payload?.[c])).join(',')
    }),
  ].join('\r\n')

/** @param {string} name @param {string} type @param {string} text */
const save = (name, type, text) => {
  const address = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

/** @param {{ filters: Record<string, unknown>, q?: string }} props */
export const Export = ({ filters, q }) => {
  const stamp = () => new Date().toISOString().slice(0, 16).replace(/[:T]/g, '')
  const csv = useAct(async () => save(`callbacks-${stamp()}.csv`, 'text/csv', asCSV(await linesOf(filters, q))))
  const lines = useAct(async () => save(`callbacks-${stamp()}.ndjson`, 'application/x-ndjson', (await linesOf(filters, q)).join('\n')))
  return html`<span class="export"><${Button} kind="plain" busy=${csv.busy} onClick=${csv.run} title=${t('export.csv')}>CSV<//>
    <${Button} kind="plain" busy=${lines.busy} onClick=${lines.run} title=${t('export.ndjson')}>NDJSON<//><${Trouble} error=${csv.error ?? lines.error} /></span>`
}
