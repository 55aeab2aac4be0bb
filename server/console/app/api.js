// Requests of the public API, and nothing else.
import { credentials, session, signOut } from './session.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

/** What an operation refused: an RFC 9457 problem, or status 0 if there was no answer. */
export class Problem extends Error {
  /** @param {number} status @param {Partial<Schemas['Problem']>} [problem] @param {number} [retryAfter] in seconds */
  constructor(status, problem = {}, retryAfter = 0) {
    super(problem.detail ?? problem.title ?? '')
    this.status = status
    this.code = problem.code
    this.errors = problem.errors ?? []
    this.requestId = problem.requestId
    this.retryAfter = retryAfter
  }
}

// The API is where the page is: /console is beside /webhooks.
const base = new URL('.', location.href).pathname.replace(/\/$/, '')

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {unknown} [body]
 * @property {Record<string, unknown>} [query] lists are repeated, empty values left out
 * @property {string} [accept]
 * @property {import('./session.js').Session | null} [as]
 */

/** @param {Record<string, unknown>} query */
const queryOf = query => {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== null && one !== '') q.append(name, String(one))
  }
  const text = q.toString()
  return text && `?${text}`
}

/** @param {string} path @param {Options} [o] @returns {Promise<string>} */
export async function ask(path, { method = 'GET', body, query = {}, accept = 'application/json', as = session() } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: accept, ...(as ? credentials(as) : {}) }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  let answer, text
  try {
    answer = await fetch(base + path + queryOf(query), {
      method,
      headers,
      credentials: 'omit',
      cache: 'no-store',
      redirect: 'error',
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    text = await answer.text()
  } catch {
    throw new Problem(0)
  }
  if (answer.ok) return text
  const problem = new Problem(answer.status, asProblem(text), Number(answer.headers.get('Retry-After')) || 0)
  if (answer.status === 401 && as && session()?.key === as.key) signOut(as.link)
  throw problem
}

/** @param {string} text */
function asProblem(text) {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

/** @param {string} path @param {Options} [o] @returns {Promise<any>} */
export const call = async (path, o) => {
  const text = await ask(path, o)
  return text === '' ? null : JSON.parse(text)
}

/** @template T @param {Promise<T>} answer @returns {Promise<T | null>} null for what does not exist */
export const orNull = answer =>
  answer.catch(error => {
    if (error instanceof Problem && error.status === 404) return null
    throw error
  })

const hook = '/webhooks/delivery-status'

export const webhook = {
  /** @returns {Promise<Schemas['Webhook'] | null>} */
  read: () => orNull(call(hook)),
  /** @param {string} callbackUrl @returns {Promise<Schemas['WebhookWithSecret']>} */
  create: callbackUrl => call(hook, { method: 'POST', body: { callbackUrl } }),
  /** @param {string} callbackUrl @returns {Promise<Schemas['Webhook']>} */
  replace: callbackUrl => call(hook, { method: 'PUT', body: { callbackUrl } }),
  remove: () => call(hook, { method: 'DELETE' }),
  /** @returns {Promise<Schemas['WebhookWithSecret']>} */
  rotate: () => call(`${hook}/signing-secret`, { method: 'POST' }),
  /** @returns {Promise<Schemas['Health'] | null>} */
  health: () => orNull(call(`${hook}/health`)),
  /** @param {Record<string, unknown>} [query] @returns {Promise<Schemas['HealthChangeList'] | null>} */
  changes: query => orNull(call(`${hook}/health/changes`, { query })),
  /** @param {Record<string, unknown>} query @returns {Promise<Schemas['HealthMinutes'] | null>} */
  minutes: query => orNull(call(`${hook}/health/minutes`, { query })),
  /** @returns {Promise<Schemas['Probe']>} */
  probe: () => call(`${hook}/probe`, { method: 'POST' }),
  /** @param {Schemas['TestEventInput']} body @returns {Promise<Schemas['Diagnosis']>} */
  test: body => call(`${hook}/test-event`, { method: 'POST', body }),
}

export const deliveries = {
  /** @param {Record<string, unknown>} query @returns {Promise<Schemas['DeliveryList']>} */
  list: query => call(`${hook}/deliveries`, { query }),
  /** @param {Record<string, unknown>} query @returns {Promise<string>} */
  lines: query => ask(`${hook}/deliveries`, { query, accept: 'application/x-ndjson' }),
  /** The text, so that the payload's very bytes can be shown. @param {string} id @returns {Promise<string | null>} */
  text: id => orNull(ask(`${hook}/deliveries/${encodeURIComponent(id)}`)),
  /** @param {string} id @returns {Promise<Schemas['Delivery']>} */
  replay: id => call(`${hook}/deliveries/${encodeURIComponent(id)}/replay`, { method: 'POST' }),
}

export const replays = {
  /** @returns {Promise<Schemas['ReplayList']>} */
  list: () => call(`${hook}/replays`),
  /** @param {Schemas['ReplayFilters']} body @returns {Promise<Schemas['Replay']>} */
  start: body => call(`${hook}/replays`, { method: 'POST', body }),
  /** @param {string} id @returns {Promise<Schemas['Replay']>} */
  stop: id => call(`${hook}/replays/${encodeURIComponent(id)}`, { method: 'DELETE' }),
}

export const service = {
  /** @returns {Promise<Schemas['ServiceStatus']>} */
  status: () => call('/status'),
}

export const accountReplays = {
  /** @returns {Promise<Schemas['AccountReplayList']>} */
  list: () => call('/replays'),
  /** @param {Schemas['AccountReplayInput']} body @returns {Promise<Schemas['AccountReplay']>} */
  start: body => call('/replays', { method: 'POST', body }),
  /** @param {string} id @returns {Promise<Schemas['AccountReplay']>} */
  stop: id => call(`/replays/${encodeURIComponent(id)}`, { method: 'DELETE' }),
}

export const accounts = {
  /** @param {string} id @returns {Promise<Schemas['ConsoleLink']>} */
  link: id => call(`/accounts/${encodeURIComponent(id)}/console-links`, { method: 'POST', body: {} }),
  /** @param {Record<string, unknown>} query @returns {Promise<Schemas['AccountList']>} */
  list: query => call('/accounts', { query }),
  /** @param {string} id */
  erase: id => call(`/accounts/${encodeURIComponent(id)}`, { method: 'DELETE' }),
}
