// The words of the page in the reader's language, and its numbers and times.
import texts from './texts.js'

/** @type {'en' | 'it'} */
export const lang = (() => {
  const asked = new URLSearchParams(location.search).get('lang') ?? navigator.language
  return asked.toLowerCase().startsWith('it') ? 'it' : 'en'
})()

const which = lang === 'it' ? 1 : 0
const plural = new Intl.PluralRules(lang)
const region = lang === 'it' ? 'it-IT' : 'en-GB'
const numbers = new Intl.NumberFormat(region)

/** @param {number} n */
export const number = n => numbers.format(n)

/**
 * The text of a key; {name} is replaced. "{n} event|{n} events" is chosen by n.
 * @param {string} key @param {Record<string, unknown>} [values]
 */
export const t = (key, values = {}) => {
  const [one, many = one] = (texts[key]?.[which] ?? key).split('|')
  const text = plural.select(Number(values.n ?? 2)) === 'one' ? one : many
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name]
    return typeof value === 'number' ? number(value) : String(value ?? '')
  })
}

/** Whether there is a text. @param {string} key */
export const has = key => key in texts

/** The first text that there is. @param {string[]} keys @param {Record<string, unknown>} [values] */
export const first = (keys, values) => t(keys.find(has) ?? keys[keys.length - 1], values)

/** What an event tells of its message. @param {import('recapito-api').components['schemas']['Delivery']} d */
export const statusOf = d => (d.payload ? (has(`status.${d.payload.status}`) ? t(`status.${d.payload.status}`) : d.payload.status) : d.eventId)

const clock = new Intl.DateTimeFormat(region, { hour: '2-digit', minute: '2-digit' })
const exact = new Intl.DateTimeFormat(region, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 })
const dayClock = new Intl.DateTimeFormat(region, { weekday: 'short', hour: '2-digit', minute: '2-digit' })
const dateClock = new Intl.DateTimeFormat(region, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })
const full = new Intl.DateTimeFormat(region, { dateStyle: 'full', timeStyle: 'long' })

const dayMs = 86_400_000

/** As short as it is clear from now. @param {string | number} at */
export const when = at => {
  const date = new Date(at)
  const away = Math.abs(date.getTime() - Date.now())
  if (date.toDateString() === new Date().toDateString()) return clock.format(date)
  return (away < 6 * dayMs ? dayClock : dateClock).format(date)
}

/** @param {string | number} at */
export const date = at => new Intl.DateTimeFormat(region, { day: 'numeric', month: 'long', year: 'numeric' }).format(new Date(at))
/** @param {string | number} at */
export const exactly = at => exact.format(new Date(at))
/** @param {string | number} at */
export const fully = at => full.format(new Date(at))

/** @type {[number, string][]} */
const units = [
  [dayMs, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1000, 'second'],
  [1, 'millisecond'],
]

/** The greatest unit, and the next one while the first is small. @param {number} ms */
export const lasting = ms => {
  const at = units.findIndex(([size]) => ms >= size)
  if (at < 0) return unit(0, ms === 0 ? 'millisecond' : 'second')
  const [size, name] = units[at]
  const whole = Math.floor(ms / size)
  const next = units[at + 1]
  if (!next || name === 'second' || whole >= 10) {
    if (name === 'second' && ms < 10_000) return unit(Math.round(ms / 100) / 10, name)
    return unit(Math.round(ms / size), name)
  }
  const rest = Math.floor((ms % size) / next[0])
  return rest > 0 ? `${unit(whole, name)} ${unit(rest, next[1])}` : unit(whole, name)
}

/** @param {number} n @param {string} name */
const unit = (n, name) => new Intl.NumberFormat(lang, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: 1 }).format(n)

/** In units of a thousand. @param {number} n */
export const bytes = n => {
  const at = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(n, 1)) / 3)))
  const name = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'][at]
  return new Intl.NumberFormat(region, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: 1 }).format(n / 1000 ** at)
}

/** @param {number | null | undefined} share of 1 */
export const percent = share =>
  share === null || share === undefined ? '–' : new Intl.NumberFormat(region, { style: 'percent', maximumFractionDigits: share > 0.99 && share < 1 ? 2 : 1 }).format(share)
