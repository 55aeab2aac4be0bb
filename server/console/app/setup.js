// Setting up: the callback URL with a check before it is saved, the signing secret, code
// that verifies, samples to send.
import { html, useRef, useState } from './lib.js'
import { webhook } from './api.js'
import { languages, sample } from './verify.js'
import { Diagnosis, Found } from './diagnosis.js'
import { useAct, useClock, useLive } from './load.js'
import { lasting, t } from './say.js'
import { Button, Card, Choice, Code, Copy, Time, Trouble, Waiting } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

export const SetUp = () => {
  const live = useLive(webhook.read, 10_000, [])
  const first = useFirstUse()
  const w = live.data
  if (w === undefined) return live.error ? html`<${Trouble} error=${live.error} />` : html`<${Waiting} />`
  if (first.stays(w === null) || w === null) return html`<${FirstUse} onDone=${() => first.end(live.reload)} />`
  return html`<h1>${t('nav.setup')}</h1>
    <${Address} w=${w} reload=${live.reload} />
    <${Secret} w=${w} reload=${live.reload} />
    <${Samples} />
    <${Verify} url=${w.callbackUrl} />
    <${Remove} w=${w} reload=${live.reload} />`
}

/**
 * The callback URL, which is checked before it is kept; the children are how to keep it.
 * @param {{ url: string, set: (url: string) => void, check: { run: () => void, clear: () => void, busy: boolean }, primary: boolean, children?: any }} props
 */
const URLForm = ({ url, set, check, primary, children }) => html`<form onSubmit=${(/** @type {Event} */ e) => {
  e.preventDefault()
  check.run()
}}>
    <label class="field"><span>${t('url')}</span>
      <input type="url" required spellcheck=${false} placeholder="https://example.com/hooks/delivery-status" value=${url} onInput=${(/** @type {any} */ e) => {
        set(e.currentTarget.value)
        check.clear()
      }} /></label>
    <p class="quiet">${t('url.rules')}</p>
    <div class="acts"><${Button} type="submit" kind=${primary ? 'primary' : ''} busy=${check.busy}>${t('url.check')}<//>${children}</div>
  </form>`

/** @param {{ w: Schemas['Webhook'], reload: () => Promise<void> }} props */
const Address = ({ w, reload }) => {
  const [url, set] = useState(w.callbackUrl)
  const check = useAct(() => webhook.test({ callbackUrl: url.trim() }))
  const save = useAct(async () => {
    await webhook.replace(url.trim())
    check.clear()
    await reload()
    return true
  })
  const changed = url.trim() !== w.callbackUrl
  return html`<${Card} name=${t('url')} note=${t(w.status === 'SUSPENDED' ? 'url.suspended' : 'url.active')}>
    <${URLForm} url=${url} check=${check} primary=${changed && !check.result} set=${(/** @type {string} */ v) => {
      set(v)
      save.clear()
    }}>
      ${(changed || w.status === 'SUSPENDED') && html`<${Button} kind=${check.result || w.status === 'SUSPENDED' ? 'primary' : ''} busy=${save.busy} onClick=${save.run}>${t(changed ? 'url.save' : 'act.resume')}<//>`}
    <//>
    <${Trouble} error=${check.error ?? save.error} />
    ${save.result && html`<p class="ok" role="status">${t('url.saved')}</p>`}
    ${check.result && html`<${Found} d=${check.result} />`}
  <//>`
}

/** Shown once: what it says cannot be read again. @param {{ secret: string }} props */
const Once = ({ secret }) =>
  html`<div class="once" role="status"><p><strong>${t('secret.once')}</strong></p><p class="id"><code>${secret}</code><${Copy} text=${secret} /></p></div>`

/** @param {{ w: Schemas['Webhook'], reload: () => Promise<void> }} props */
const Secret = ({ w, reload }) => {
  const now = useClock(1000)
  const [sure, ask] = useState(false)
  const rotate = useAct(async () => {
    const { signingSecret } = await webhook.rotate()
    ask(false)
    await reload()
    return signingSecret
  })
  const old = w.secrets.filter(s => s.until)
  return html`<${Card} name=${t('secret')} note=${t('secret.note')}>
    ${old.length > 0 && html`<ul class="plainlist">${old.map(s => html`<li key=${s.until}>${t('secret.old', { time: lasting(Math.max(0, Date.parse(s.until ?? '') - now)) })} <${Time} at=${s.until} /></li>`)}</ul>`}
    ${rotate.result && html`<${Once} secret=${rotate.result} />`}
    <div class="acts">${
      sure
        ? html`<p>${t('secret.sure')}</p><${Button} kind="primary" busy=${rotate.busy} onClick=${rotate.run}>${t('secret.rotate')}<//><${Button} onClick=${() => ask(false)}>${t('cancel')}<//>`
        : html`<${Button} onClick=${() => ask(true)}>${t('secret.rotate')}<//>`
    }</div>
    <${Trouble} error=${rotate.error} />
  <//>`
}

/** @type {Schemas['TestSample'][]} */
const samples = ['SMS_DELIVERED', 'SMS_EXPIRED', 'SMS_PART_UNDELIVERABLE', 'RCS_READ', 'RCS_REVOKED', 'WHATSAPP_SENT', 'WHATSAPP_READ_BY_USER', 'WHATSAPP_REJECTED']

const Samples = () => {
  const [chosen, choose] = useState(samples[0])
  const [shown, show] = useState(/** @type {Schemas['Diagnosis'] | undefined} */ (undefined))
  const test = useAct(async () => show(await webhook.test({ sample: chosen })))
  return html`<${Card} name=${t('samples')} note=${t('samples.note')}>
    <div class="acts"><label class="select"><span class="unseen">${t('samples')}</span><select value=${chosen} onChange=${(/** @type {any} */ e) => choose(e.currentTarget.value)}>
      ${samples.map(s => html`<option key=${s} value=${s}>${t(`sample.${s}`)}</option>`)}</select></label>
    <${Button} busy=${test.busy} onClick=${test.run}>${t('act.test')}<//></div>
    <${Trouble} error=${test.error} />
    ${shown && html`<${Diagnosis} d=${shown} onClose=${() => show(undefined)} />`}
  <//>`
}

/** @param {{ url: string }} props */
const Verify = ({ url }) => {
  const [chosen, choose] = useState(languages[0])
  return html`<${Card} name=${t('verify')} note=${t('verify.note')}>
    <${Choice} name=${t('verify')} value=${chosen} onChange=${choose} options=${languages.map(l => ({ value: l, label: l }))} />
    <${Code} name=${chosen} text=${sample(chosen, url)} />
  <//>`
}

/** @param {{ w: Schemas['Webhook'], reload: () => Promise<void> }} props */
const Remove = ({ w, reload }) => {
  const [typed, set] = useState('')
  const host = new URL(w.callbackUrl).host
  const remove = useAct(async () => {
    await webhook.remove()
    await reload()
  })
  return html`<${Card} name=${t('remove')} note=${t('remove.note')}><details><summary>${t('remove.open')}</summary>
    <label class="field"><span>${t('remove.type', { host })}</span><input spellcheck=${false} autocomplete="off" value=${typed} onInput=${(/** @type {any} */ e) => set(e.currentTarget.value)} /></label>
    <${Button} kind="danger" disabled=${typed !== host} busy=${remove.busy} onClick=${remove.run}>${t('remove')}<//><${Trouble} error=${remove.error} />
  </details><//>`
}

/** The first use goes on, with the secret that it shows, when the webhook is there: until its end. */
export const useFirstUse = () => {
  const begun = useRef(false)
  return {
    /** @param {boolean} empty */
    stays: empty => (begun.current ||= empty),
    /** @param {() => Promise<void>} reload */
    end: reload => {
      begun.current = false
      return reload()
    },
  }
}

/** From nothing to a verified test event. @param {{ onDone: () => Promise<void> }} props */
export const FirstUse = ({ onDone }) => {
  const [url, set] = useState('')
  const check = useAct(() => webhook.test({ callbackUrl: url.trim() }))
  const create = useAct(() => webhook.create(url.trim()))
  const test = useAct(() => webhook.test({}))
  const made = create.result
  const verified = test.result && ['ACKNOWLEDGED', 'CERTIFICATE_EXPIRES_SOON'].includes(test.result.verdict)
  return html`<section class="first"><h1>${t('first.title')}</h1><p class="lead">${t('first.lead')}</p>
    <ol class="steps">
      <li class=${made ? 'done' : 'now'}><h2>${t('first.url')}</h2>
        ${
          made
            ? html`<p class="id"><code>${made.callbackUrl}</code></p>`
            : html`<${URLForm} url=${url} check=${check} primary=${!check.result} set=${set}>
            <${Button} kind=${check.result ? 'primary' : ''} disabled=${!url.trim()} busy=${create.busy} onClick=${create.run}>${t('first.register')}<//><//>
          <${Trouble} error=${check.error ?? create.error} />
          ${check.result && html`<p class="quiet">${t('first.checked')}</p><${Found} d=${check.result} />`}`
        }
      </li>
      <li class=${!made ? '' : verified ? 'done' : 'now'}><h2>${t('first.secret')}</h2>${made ? html`<${Once} secret=${made.signingSecret} /><${Verify} url=${made.callbackUrl} />` : html`<p class="quiet">${t('first.secret.note')}</p>`}</li>
      <li class=${verified ? 'done' : made ? 'now' : ''}><h2>${t('first.test')}</h2>${
        made
          ? html`<div class="acts"><${Button} kind=${verified ? '' : 'primary'} busy=${test.busy} onClick=${test.run}>${t('act.test')}<//>
        ${verified && html`<${Button} kind="primary" onClick=${onDone}>${t('first.done')}<//>`}${!verified && html`<${Button} kind="plain" onClick=${onDone}>${t('first.later')}<//>`}</div>
        <${Trouble} error=${test.error} />${test.result && html`<${Found} d=${test.result} />`}`
          : html`<p class="quiet">${t('first.test.note')}</p>`
      }</li>
    </ol></section>`
}
