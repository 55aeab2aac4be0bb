// Where the user is: the part of the address after #, which no server sees. Filters are in
// it, so that a view can be sent to a colleague.
import { useEffect, useState } from './lib.js'

/** @typedef {{ page: string, query: Record<string, string> }} Route */

/** @returns {Route} */
export const route = () => {
  const [page, query = ''] = location.hash.replace(/^#\/?/, '').split('?')
  return { page: page || 'status', query: Object.fromEntries(new URLSearchParams(query)) }
}

/** @param {string} page @param {Record<string, string | undefined>} [query] */
export const linkTo = (page, query = {}) => {
  const q = new URLSearchParams(Object.entries(query).flatMap(([name, value]) => (value ? [[name, value]] : []))).toString()
  return `#/${page}${q && `?${q}`}`
}

/** @param {string} page @param {Record<string, string | undefined>} [query] */
export const go = (page, query) => {
  location.hash = linkTo(page, query)
}

/** The same page with other filters. @param {Record<string, string | undefined>} change */
export const refine = change => {
  const now = route()
  go(now.page, { ...now.query, ...change })
}

/** @returns {Route} */
export const useRoute = () => {
  const [at, set] = useState(route)
  useEffect(() => {
    const moved = () => set(route())
    addEventListener('hashchange', moved)
    return () => removeEventListener('hashchange', moved)
  }, [])
  return at
}
