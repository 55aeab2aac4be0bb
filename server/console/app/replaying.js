// What the replays of an account and those of several have in common: which events, what is
// under way, what was before.
import { html } from './lib.js'
import { useAct, useLive } from './load.js'
import { t, when } from './say.js'
import { Button, Card, Choice, Time, Trouble, Waiting } from './ui.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */
/** @typedef {Schemas['Replay'] | Schemas['AccountReplay']} Job */
/** @typedef {'FAILED' | 'DELIVERED' | 'CANCELLED'} Ended */

/** A time as the field shows it: the reader's own clock. @param {number} ms */
export const local = ms => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16)

/** What the fields of Which choose. @param {Ended} state @param {string} from @param {string} to @returns {Schemas['ReplayFilters']} */
export const filtersOf = (state, from, to) => ({ state: [state], from: from ? new Date(from).toISOString() : undefined, to: to ? new Date(to).toISOString() : undefined })

/** The fields for how events have ended and when they were accepted. @param {{ state: Ended, setState: (s: Ended) => void, from: string, setFrom: (v: string) => void, to: string, setTo: (v: string) => void }} props */
export const Which = ({ state, setState, from, setFrom, to, setTo }) => html`
  <${Choice} name=${t('filter.state')} value=${state} onChange=${setState} options=${/** @type {const} */ (['FAILED', 'CANCELLED', 'DELIVERED']).map(v => ({ value: v, label: t(`delivery.${v}`) }))} />
  <div class="window"><label class="field"><span>${t('replay.from')}</span><input type="datetime-local" value=${from} onChange=${(/** @type {any} */ e) => setFrom(e.currentTarget.value)} /></label>
    <label class="field"><span>${t('replay.to')}</span><input type="datetime-local" value=${to} onChange=${(/** @type {any} */ e) => setTo(e.currentTarget.value)} /></label></div>`

/** Filters in words. @param {Schemas['ReplayFilters']} f */
export const told = f =>
  [
    (f.state ?? ['FAILED']).map(s => t(`delivery.${s}`)).join(', '),
    f.from || f.to ? `${f.from ? when(f.from) : '…'} – ${f.to ? when(f.to) : '…'}` : '',
    f.error ?? '',
    f.messageId ?? '',
  ]
    .filter(Boolean)
    .join(' · ')

/**
 * The page: the one that is under way, the form for a new one, those of before.
 * @param {{ title: string, lead: string, list: () => Promise<{ replays: Job[] }>, stop: (id: string) => Promise<unknown>, start: any, progress: (r: any) => any, note: (r: any) => string, query: Record<string, string> }} props
 */
export const Replaying = ({ title, lead, list, stop, start, progress, note, query }) => {
  const live = useLive(list, 1000, [])
  const all = live.data?.replays
  const running = all?.find(r => !r.endedAt)
  return html`<h1>${title}</h1><p class="lead">${lead}</p>
    <${Trouble} error=${live.error} />
    ${running && html`<${Running} r=${running} note=${note(running)} stop=${stop} reload=${live.reload}>${progress(running)}<//>`}
    <${start} key=${JSON.stringify(query)} query=${query} disabled=${Boolean(running)} reload=${live.reload} />
    ${all === undefined ? !live.error && html`<${Waiting} />` : html`<${Earlier} all=${all.filter(r => r.endedAt)} note=${note} />`}`
}

/** @param {{ r: Job, note: string, stop: (id: string) => Promise<unknown>, reload: () => Promise<void>, children?: any }} props */
const Running = ({ r, note, stop, reload, children }) => {
  const end = useAct(async () => {
    await stop(r.id)
    await reload()
  })
  return html`<${Card} name=${t('replay.running')} note=${note} class="running">
    <progress max=${Math.max(r.matched, 1)} value=${r.sentAgain} aria-label=${t('replay.running')}></progress>
    <p role="status">${children}</p>
    <${Button} busy=${end.busy} onClick=${end.run}>${t('replay.stop')}<//><${Trouble} error=${end.error} />
  <//>`
}

/** @param {{ all: Job[], note: (r: any) => string }} props */
const Earlier = ({ all, note }) =>
  all.length === 0
    ? null
    : html`<${Card} name=${t('replay.earlier')}><ul class="replays">${all.map(
        r =>
          html`<li key=${r.id}><span><${Time} at=${r.startedAt} /> <strong>${t(`replay.${r.state}`)}</strong></span><span class="quiet">${note(r)}</span><span>${t('replay.progress', { n: r.sentAgain, all: r.matched })}</span></li>`,
      )}</ul><//>`
