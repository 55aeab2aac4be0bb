// Which failures of several accounts are one incident.

/** @typedef {import('recapito-api').components['schemas']['AccountHealth']} Account */
/** @typedef {{ key: string, by: 'authority' | 'address' | 'host' | 'time' | 'one', accounts: Account[] }} Incident */

const together = 10 * 60_000

/** @param {Account} a */
const kind = a => [a.lastFailure?.error, a.lastFailure?.statusCode ?? a.lastFailure?.detail].join(' ')
/** @param {Account} a */
export const since = a => Date.parse(a.since ?? a.createdAt)
/** @param {Account[]} list */
export const waiting = list => list.reduce((n, a) => n + a.pending, 0)

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
 * What a host may share with others: an authority that is not known, or the address at which
 * all its accounts failed. @param {Account[]} host @returns {{ by: 'authority' | 'address', key: string }}
 */
const sharing = host => {
  const [{ callbackHost, lastFailure: f }] = host
  if (f?.detail === 'CERTIFICATE_UNKNOWN_AUTHORITY') return { by: 'authority', key: f.detail }
  const at = f?.address && host.every(a => a.lastFailure?.address === f.address) ? f.address : callbackHost
  return { by: 'address', key: `${at} ${kind(host[0])}` }
}

/**
 * Hosts that fail alike are one incident if they share what is said above; then the accounts at
 * one host, and of those that are left the ones that fail since about the same time. The one
 * with most that waits is the first. @param {Account[]} list @returns {Incident[]}
 */
export const incidents = list => {
  /** @type {Incident[]} */
  const all = []
  /** @type {Account[]} */
  const left = []
  const hosts = grouped(list, a => `${a.callbackHost} ${kind(a)}`).map(([, host]) => host)
  for (const [key, those] of grouped(hosts, host => sharing(host).key)) {
    const accounts = those.flat()
    if (those.length > 1) all.push({ key, by: sharing(those[0]).by, accounts })
    else if (accounts.length > 1) all.push({ key, by: 'host', accounts })
    else left.push(...accounts)
  }
  for (const [key, of] of grouped(left, kind)) {
    for (const run of runs(of.sort((a, b) => since(a) - since(b)))) all.push({ key: `${key} ${run[0].id}`, by: run.length > 1 ? 'time' : 'one', accounts: run })
  }
  return all.sort((a, b) => waiting(b.accounts) - waiting(a.accounts) || b.accounts.length - a.accounts.length)
}
