// Who is signed in: a key that this tab keeps, and nobody else. It goes into a header of
// each request. Signing out forgets it.
import { linkTo, route } from './route.js'

/**
 * @typedef {object} Session
 * @property {'account' | 'platform'} as
 * @property {string} key
 * @property {string} [account] with the platform key: the account that is looked at
 * @property {string} [reason] with the platform key: why something is changed, for the log
 * @property {boolean} [link] the key is that of a link, and ends by itself
 */

const place = 'recapito'

/** @returns {Session | null} */
export const session = () => JSON.parse(sessionStorage.getItem(place) ?? 'null')

/** @param {Session} s */
export const signIn = s => sessionStorage.setItem(place, JSON.stringify(s))

/**
 * Forgets everything: a reload leaves nothing of what was shown in memory, and the address
 * nothing of what was looked for. @param {boolean} [ended] a link has
 */
export const signOut = ended => {
  sessionStorage.clear()
  history.replaceState(null, '', ended ? linkTo('status', { ended: 'link' }) : '#')
  location.reload()
}

/** A page that the browser has kept, to go back to, is shown in the session that it was left in alone. */
export const leaveNothing = () => {
  let left = sessionStorage.getItem(place)
  addEventListener('pagehide', () => (left = sessionStorage.getItem(place)))
  addEventListener('pageshow', event => {
    if (!event.persisted || sessionStorage.getItem(place) === left) return
    document.body.replaceChildren()
    location.reload()
  })
}

/** Signs in by the key of a link, if there is one, and takes it out of the address. */
export const enterByLink = () => {
  const { page, query } = route()
  if (!query.key) return
  const { key, ...others } = query
  signIn({ as: 'account', key, link: true })
  history.replaceState(null, '', linkTo(page, others))
}

/** @param {string} reason */
export const because = reason => {
  const s = session()
  if (s) signIn({ ...s, reason })
}

/** @param {string} [account] */
export const lookAt = account => {
  const s = session()
  if (s) signIn({ ...s, account })
}

/** @param {Session} s @returns {Record<string, string>} */
export const credentials = s => {
  if (s.as === 'account') return { 'X-API-Key': s.key }
  /** @type {Record<string, string>} */
  const platform = { Authorization: `Bearer ${s.key}` }
  if (s.reason) platform['X-Reason'] = encodeURIComponent(s.reason)
  return s.account ? { ...platform, 'X-Account-Id': s.account } : platform
}
