// The platform's accounts, the worst first.
import { html, useState } from './lib.js'
import { accounts } from './api.js'
import { mood } from './band.js'
import { useAct, useLive } from './load.js'
import { linkTo, refine } from './route.js'
import { lasting, t } from './say.js'
import { lookAt } from './session.js'
import { Button, Choice, Copy, Time, Trouble, Waiting } from './ui.js'
import { reason } from './why.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const states = ['', 'FAILING', 'PROBING', 'SUSPENDED', 'SLOWED', 'HEALTHY', 'IDLE']

/** @param {{ query: Record<string, string>, onAccount: () => void }} props */
export const Accounts = ({ query, onAccount }) => {
  const { state, prefix, cursor } = query
  const live = useLive(() => accounts.list({ state, idPrefix: prefix, cursor, limit: 100 }), cursor ? 0 : 10_000, [state, prefix, cursor])
  const [id, set] = useState(prefix ?? '')
  /** @param {string} account */
  const open = account => {
    lookAt(account)
    location.hash = linkTo('status')
    onAccount()
  }
  const list = live.data?.accounts ?? []
  return html`<h1>${t('nav.accounts')}</h1>
    <div class="filters">
      <form role="search" class="search" onSubmit=${(/** @type {Event} */ e) => {
        e.preventDefault()
        refine({ prefix: id.trim() || undefined, cursor: undefined })
      }}><input type="search" aria-label=${t('accounts.prefix')} placeholder=${t('accounts.prefix')} value=${id} onInput=${(/** @type {any} */ e) => set(e.currentTarget.value)} spellcheck=${false} /></form>
      <${Choice} name=${t('filter.state')} value=${state ?? ''} onChange=${(/** @type {string} */ v) => refine({ state: v || undefined, cursor: undefined })}
        options=${states.map(v => ({ value: v, label: v ? t(`state.${v}`) : t('filter.all') }))} />
    </div>
    <${Trouble} error=${live.error} />
    ${
      !live.data
        ? !live.error && html`<${Waiting} />`
        : list.length === 0
          ? html`<div class="nothing"><p>${t('accounts.none')}</p></div>`
          : html`<ul class="accounts">${list.map(a => html`<${Row} key=${a.id} a=${a} open=${open} />`)}</ul>`
    }
    <nav class="pager" aria-label=${t('pager')}>${live.data?.nextCursor && html`<a class="button" href=${linkTo('accounts', { ...query, cursor: live.data.nextCursor })}>${t('pager.next')}</a>`}</nav>`
}

/** @param {{ a: Schemas['AccountHealth'], open: (id: string) => void }} props */
const Row = ({ a, open }) => html`<li>
  <span class="who"><span class=${`dot ${a.state ? mood[a.state] : 'CANCELLED'}`} aria-hidden="true"></span><${Button} kind="plain" onClick=${() => open(a.id)}><code>${a.id}</code><//></span>
  <span>${a.state ? t(`state.${a.state}`) : t('accounts.nowhere')}${a.since && html` <small class="quiet"><${Time} at=${a.since} /></small>`}${a.callbackHost && html`<br /><small class="quiet host">${a.callbackHost}</small>`}</span>
  <span>${a.pending > 0 && (a.oldestPendingAt ? t('accounts.wait', { n: a.pending, age: lasting(Math.max(0, Date.now() - Date.parse(a.oldestPendingAt))) }) : t('outlook.waiting', { n: a.pending }))}</span>
  <span class="quiet">${a.consecutiveFailures > 0 && a.lastFailure ? reason(a.lastFailure) : ''}</span>
  <span class="rowacts"><${Link} id=${a.id} /><${Erase} id=${a.id} /></span></li>`

/** A link that signs its holder in as the account, for some minutes. @param {{ id: string }} props */
const Link = ({ id }) => {
  const make = useAct(() => accounts.link(id))
  if (!make.result)
    return html`<${Button} kind="plain" busy=${make.busy} onClick=${make.run} aria-label=${t('link.make', { id })}>${t('link')}<//><${Trouble} error=${make.error} />`
  return html`<span role="status"><${Copy} text=${location.origin + make.result.path} label=${t('link.copy')} /> <small class="quiet">${t('link.until')} <${Time} at=${make.result.expiresAt} /></small></span>`
}

/** @param {{ id: string }} props */
const Erase = ({ id }) => {
  const [typed, set] = useState('')
  const erase = useAct(async () => {
    await accounts.erase(id)
    return true
  })
  if (erase.result) return html`<span class="quiet" role="status">${t('erase.done')}</span>`
  return html`<details class="erase"><summary aria-label=${t('erase.open', { id })}>${t('erase')}</summary>
    <p class="quiet">${t('erase.note')}</p>
    <label class="field"><span>${t('remove.type', { host: id })}</span><input spellcheck=${false} autocomplete="off" value=${typed} onInput=${(/** @type {any} */ e) => set(e.currentTarget.value)} /></label>
    <${Button} kind="danger" disabled=${typed !== id} busy=${erase.busy} onClick=${erase.run}>${t('erase')}<//><${Trouble} error=${erase.error} /></details>`
}
