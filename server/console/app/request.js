// The request as it was sent, a curl that repeats it, and a check of its signature. The
// secret that is entered stays in this page.
import { html, useEffect, useState } from './lib.js'
import { webhook } from './api.js'
import { useLive } from './load.js'
import { sign, verify } from './signature.js'
import { t } from './say.js'
import { Code } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

/** @param {string} text for a POSIX shell */
const quoted = text => `'${text.replaceAll("'", `'\\''`)}'`

/** @param {string} url @param {[string, string][]} header @param {string} body */
export const curl = (url, header, body) =>
  [`curl -i ${quoted(url)}`, ...header.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`), `--data-binary ${quoted(body)}`].join(' \\\n  ')

/** @param {string} body */
const indented = body => {
  try {
    return JSON.stringify(JSON.parse(body), null, 2)
  } catch {
    return body
  }
}

/** @param {{ d: Schemas['DeliveryDetail'], body: string }} props */
export const Request = ({ d, body }) => {
  const hook = useLive(webhook.read, 0, [])
  const last = d.attempts.at(-1)
  const [secret, setSecret] = useState('')
  const [signature, setSignature] = useState('')
  const at = last ? Math.floor(Date.parse(last.at) / 1000) : Math.floor(Date.parse(d.acceptedAt) / 1000)
  const header = /** @type {[string, string][]} */ ([
    ['content-type', 'application/json'],
    ['accept', '*/*'],
    ['accept-encoding', 'identity'],
    ['webhook-id', d.eventId],
    ['webhook-timestamp', String(at)],
    ['webhook-signature', signature || 'v1,…'],
    ['webhook-attempt', String(last?.number ?? 1)],
  ])
  useEffect(() => {
    let current = true
    sign(secret, d.eventId, String(at), body).then(
      s => current && setSignature(s),
      () => current && setSignature(''),
    )
    return () => {
      current = false
    }
  }, [secret, body, at])
  const url = hook.data?.callbackUrl ?? 'https://…'
  return html`<h3>${t('request')}</h3>
    <${Code} name=${t('request.header')} text=${[`POST ${url}`, ...header.map(([n, v]) => `${n}: ${v}`)].join('\n')} />
    <${Code} name=${t('request.body')} text=${indented(body)} />
    <${Code} name="curl" text=${curl(url, header, body)} />
    <details class="check"><summary>${t('check')}</summary>
      <p class="quiet">${t('check.lead')}</p>
      <form onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}><label class="field"><span>${t('check.secret')}</span><input type="password" autocomplete="off" spellcheck=${false} placeholder="whsec_…" value=${secret} onInput=${(/** @type {any} */ e) => setSecret(e.currentTarget.value.trim())} /></label>
      <${Check} d=${d} body=${body} secret=${secret} at=${at} /></form>
    </details>`
}

/** @param {{ d: Schemas['DeliveryDetail'], body: string, secret: string, at: number }} props */
const Check = ({ d, body, secret, at }) => {
  const [stamp, setStamp] = useState(String(at))
  const [got, setGot] = useState('')
  const [verdict, set] = useState('')
  useEffect(() => {
    let current = true
    const end = (/** @type {string} */ v) => current && set(v)
    if (!globalThis.isSecureContext) end('insecure')
    else if (!secret || !got) end('')
    else verify(secret, d.eventId, stamp.trim(), body, got).then(end)
    return () => {
      current = false
    }
  }, [secret, stamp, got, body])
  return html`<label class="field"><span>webhook-timestamp</span><input inputmode="numeric" value=${stamp} onInput=${(/** @type {any} */ e) => setStamp(e.currentTarget.value)} /></label>
    <label class="field"><span>webhook-signature</span><input spellcheck=${false} placeholder="v1,…" value=${got} onInput=${(/** @type {any} */ e) => setGot(e.currentTarget.value)} /></label>
    <p role="status" class=${verdict === 'genuine' ? 'ok' : 'bad'}>${verdict && t(`check.${verdict}`)}</p>`
}
