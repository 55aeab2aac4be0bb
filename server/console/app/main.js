// The page: who is signed in, and which page of it is shown.
import { html, render, useState } from './lib.js'
import { linkTo, route, useRoute } from './route.js'
import { lang, t } from './say.js'
import { because, enterByLink, leaveNothing, lookAt, session, signOut } from './session.js'
import { SignIn } from './signin.js'
import { Accounts } from './accounts.js'
import { Callbacks } from './callbacks.js'
import { Errors } from './errors.js'
import { Now } from './now.js'
import { Replay } from './replay.js'
import { Replays } from './replays.js'
import { SetUp } from './setup.js'
import { Status } from './status.js'

/** @type {Record<string, any>} */
const ofAccount = { status: Status, callbacks: Callbacks, replay: Replay, setup: SetUp }
/** @type {Record<string, any>} */
const ofPlatform = { now: Now, accounts: Accounts, errors: Errors, replays: Replays }

document.documentElement.lang = lang
enterByLink()
leaveNothing()
addEventListener('hashchange', event => {
  if (!route().query.key) return
  event.stopImmediatePropagation() // what is shown must not ask with the key of the link
  location.reload()
})

/** @param {{ page: string, at: string }} props */
const Tab = ({ page, at }) => html`<a href=${linkTo(page)} aria-current=${page === at ? 'page' : undefined}>${t(`nav.${page}`)}</a>`

const Language = () => {
  const other = lang === 'it' ? 'en' : 'it'
  return html`<a class="plain" lang=${other} hreflang=${other} href=${`?lang=${other}${location.hash}`}>${other === 'it' ? 'Italiano' : 'English'}</a>`
}

/** @param {{ children: any, nav?: any, end?: any }} props */
const Frame = ({ children, nav, end }) => html`
  <a class="skip" href="#main" onClick=${(/** @type {Event} */ e) => {
    e.preventDefault()
    document.getElementById('main')?.focus()
  }}>${t('skip')}</a>
  <header class="bar"><span class="mark">Recapito</span>${nav}<div class="end">${end}<${Language} /></div></header>
  <main id="main" tabindex="-1">${children}</main>`

/** Why the platform changes something, which goes to the service's log. It shows what is sent. */
const Reason = () =>
  html`<label class="reason"><span>${t('reason')}</span><input maxlength="200" spellcheck=${false} placeholder=${t('reason.hint')} value=${session()?.reason ?? ''} onInput=${(/** @type {any} */ e) => because(e.currentTarget.value.trim())} /></label>`

const App = () => {
  const at = useRoute()
  const [who, set] = useState(session)
  if (!who) return html`<${Frame}><${SignIn} onDone=${() => set(session())} /><//>`
  const pages = who.as === 'account' || who.account ? ofAccount : ofPlatform
  const page = pages[at.page] ? at.page : Object.keys(pages)[0]
  const Page = pages[page]
  document.title = `${t(`nav.${page}`)} · Recapito`
  const leave = () => {
    lookAt(undefined)
    location.hash = linkTo('accounts')
    set(session())
  }
  return html`<${Frame} nav=${html`<nav aria-label=${t('nav')}>${Object.keys(pages).map(tab => html`<${Tab} key=${tab} page=${tab} at=${page} />`)}</nav>`}
    end=${html`${who.account && html`<span class="as"><button type="button" class="plain" onClick=${leave}>← ${t('nav.accounts')}</button> <code>${who.account}</code></span>`}
      <button type="button" class="plain" onClick=${() => signOut()}>${t('signout')}</button>`}>
    ${who.as === 'platform' && html`<${Reason} />`}
    <${Page} key=${`${page} ${who.account ?? ''}`} query=${at.query} onAccount=${() => set(session())} />
  <//>`
}

const root = document.getElementById('app')
if (root) render(html`<${App} />`, root)
