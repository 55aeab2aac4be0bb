// Standard Webhooks signatures, made and checked in the browser.

/** The key of whsec_…; throws if it is none. @param {string} secret */
const keyOf = secret => {
  const bytes = Uint8Array.from(atob(secret.replace(/^whsec_/, '')), c => c.charCodeAt(0))
  if (bytes.length === 0) throw new Error('no key')
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
}

/** @param {string} secret @param {string} id @param {string} timestamp @param {string} body */
export const sign = async (secret, id, timestamp, body) => {
  const mac = await crypto.subtle.sign('HMAC', await keyOf(secret), new TextEncoder().encode(`${id}.${timestamp}.${body}`))
  return `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`
}

/**
 * @param {string} secret @param {string} id @param {string} timestamp @param {string} body @param {string} header
 * @returns {Promise<'genuine' | 'forged' | 'nosecret' | 'malformed'>}
 */
export const verify = async (secret, id, timestamp, body, header) => {
  const given = header.trim().split(/\s+/)
  if (!given.some(s => s.startsWith('v1,'))) return 'malformed'
  try {
    return given.includes(await sign(secret, id, timestamp, body)) ? 'genuine' : 'forged'
  } catch {
    return 'nosecret'
  }
}
