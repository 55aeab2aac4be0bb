// Sending again over several accounts, or all: for what failed because of the platform.
import { html, useState } from './lib.js'
import { accountReplays } from './api.js'
import { useAct } from './load.js'
import { filtersOf, local, Replaying, told, Which } from './replaying.js'
import { number, t } from './say.js'
import { Button, Card, Trouble } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const day = 86_400_000

/** @param {Schemas['AccountReplay']} r */
const progress = r =>
  html`${t('replay.progress', { n: r.sentAgain, all: r.matched })} <span class="quiet">${t('replays.accounts', { n: r.accounts.begun, running: number(r.accounts.running), skipped: number(r.accounts.skipped) })}</span>`

/** @param {Schemas['AccountReplay']} r */
const note = r => `${r.accountIds ? t('errors.accounts', { n: r.accountIds.length }) : t('replays.everyone')} · ${told(r.filters)}`

/** @param {{ query: Record<string, string> }} props */
export const Replays = ({ query }) =>
  html`<${Replaying} title=${t('nav.replays')} lead=${t('replays.lead')} list=${accountReplays.list} stop=${accountReplays.stop} start=${Start} progress=${progress} note=${note} query=${query} />`

/** @param {{ query: Record<string, string>, disabled: boolean, reload: () => Promise<void> }} props */
const Start = ({ query, disabled, reload }) => {
  const [state, setState] = useState(/** @type {import('./replaying.js').Ended} */ ('FAILED'))
  const [ids, setIds] = useState(query.accounts ?? '')
  const [from, setFrom] = useState(local(query.from ? Date.parse(query.from) : Date.now() - day))
  const [to, setTo] = useState(local(Date.now() + 60_000))
  const [sure, setSure] = useState(false)
  const chosen = ids.split(/[\s,]+/).filter(Boolean)
  const start = useAct(async () => {
    await accountReplays.start({ accountIds: chosen.length > 0 ? chosen : undefined, filters: filtersOf(state, from, to) })
    setSure(false)
    await reload()
  })
  return html`<${Card} name=${t('replay.choose')}>
    <label class="field"><span>${t('replays.ids')}</span><textarea rows="2" spellcheck=${false} value=${ids} onInput=${(/** @type {any} */ e) => setIds(e.currentTarget.value)}></textarea></label>
    <${Which} state=${state} setState=${setState} from=${from} setFrom=${setFrom} to=${to} setTo=${setTo} />
    <label class="sure"><input type="checkbox" checked=${sure} onChange=${(/** @type {any} */ e) => setSure(e.currentTarget.checked)} /> ${chosen.length > 0 ? t('replays.some', { n: chosen.length }) : t('replays.all')}</label>
    <div class="acts"><${Button} kind="primary" disabled=${disabled || !sure} busy=${start.busy} onClick=${start.run}>${t('replay.start')}<//></div>
    ${disabled && html`<p class="quiet">${t('replay.one')}</p>`}
    <${Trouble} error=${start.error} />
  <//>`
}
