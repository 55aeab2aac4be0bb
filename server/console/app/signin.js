// Signing in with a key. A key that is not known is not kept.
import { html, useState } from './lib.js'
import { call, orNull, Problem } from './api.js'
import { useAct } from './load.js'
import { route } from './route.js'
import { t } from './say.js'
import { signIn } from './session.js'
import { Button, Choice, Trouble } from './ui.js'

/** @param {{ onDone: () => void }} props */
export const SignIn = ({ onDone }) => {
  const [as, choose] = useState(/** @type {'account' | 'platform'} */ ('account'))
  const [key, set] = useState('')
  const enter = useAct(async () => {
    const who = { as, key: key.trim() }
    try {
      await (as === 'account' ? call('/webhooks/delivery-status/deliveries', { as: who, query: { limit: 1 } }) : orNull(call('/accounts', { as: who, query: { limit: 1 } })))
    } catch (error) {
      if (error instanceof Problem && error.status === 401) throw new Problem(401, { code: as === 'account' ? 'API_KEY_REQUIRED' : 'PLATFORM_KEY_REQUIRED' })
      throw error
    }
    signIn(who)
    onDone()
  })
  /** @param {Event} e */
  const submit = e => {
    e.preventDefault()
    if (key.trim()) enter.run()
  }
  return html`<section class="door">
    <h1>${t('signin.title')}</h1>
    <p class="lead">${t('signin.lead')}</p>
    ${route().query.ended && html`<p class="trouble" role="status">${t('signin.ended')}</p>`}
    <form onSubmit=${submit}>
      <${Choice} name=${t('signin.as')} value=${as} onChange=${choose} options=${[
        { value: 'account', label: t('signin.account') },
        { value: 'platform', label: t('signin.platform') },
      ]} />
      <label class="field"><span>${t(`signin.${as}.key`)}</span>
        <input type="password" autocomplete="off" spellcheck=${false} required value=${key} placeholder=${as === 'account' ? 'rcp_…' : ''} onInput=${(/** @type {any} */ e) => set(e.currentTarget.value)} /></label>
      <${Trouble} error=${enter.error} />
      <${Button} kind="primary" type="submit" busy=${enter.busy}>${t('signin.enter')}<//>
    </form>
    <p class="quiet">${t('signin.kept')}</p>
  </section>`
}
