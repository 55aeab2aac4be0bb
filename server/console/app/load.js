// Reading again and again, while somebody looks.
import { useCallback, useEffect, useRef, useState } from './lib.js'

/**
 * Asks now, and every so often while the tab is in view, when the answer before has come. An
 * older answer never replaces a newer one.
 * @template T @param {() => Promise<T>} read @param {number} every in ms; 0: once @param {unknown[]} deps
 * @returns {{ data: T | undefined, error: unknown, loading: boolean, reload: () => Promise<void> }}
 */
export function useLive(read, every, deps) {
  const [state, set] = useState(/** @type {{ data: T | undefined, error: unknown, loading: boolean }} */ ({ data: undefined, error: null, loading: true }))
  const asked = useRef(0)
  const shown = useRef(0)
  const underWay = useRef(0)
  const reload = useCallback(async () => {
    const mine = ++asked.current
    const told = (/** @type {(before: typeof state) => typeof state} */ change) => {
      underWay.current--
      if (mine <= shown.current) return
      shown.current = mine
      set(change)
    }
    underWay.current++
    try {
      const data = await read()
      told(() => ({ data, error: null, loading: false }))
    } catch (error) {
      told(before => ({ ...before, error, loading: false }))
    }
  }, deps)
  useEffect(() => {
    set(before => ({ ...before, loading: true }))
    reload()
    const timer = every ? setInterval(() => document.visibilityState === 'visible' && underWay.current === 0 && reload(), every) : 0
    return () => {
      clearInterval(timer)
      shown.current = asked.current // what is under way is of no use
    }
  }, [reload, every])
  return { ...state, reload }
}

/** Draws again every so often, for times that run. @param {number} every in ms */
export function useClock(every) {
  const [now, set] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === 'visible' && set(Date.now()), every)
    return () => clearInterval(timer)
  }, [every])
  return now
}

/**
 * One act at a time, and what came of it.
 * @template T @param {() => Promise<T>} act
 * @returns {{ busy: boolean, error: unknown, result: T | undefined, run: () => Promise<void>, clear: () => void }}
 */
export function useAct(act) {
  const [state, set] = useState(/** @type {{ busy: boolean, error: unknown, result: T | undefined }} */ ({ busy: false, error: null, result: undefined }))
  const run = async () => {
    if (state.busy) return
    set({ busy: true, error: null, result: undefined })
    try {
      const result = await act()
      set({ busy: false, error: null, result })
    } catch (error) {
      set({ busy: false, error, result: undefined })
    }
  }
  return { ...state, run, clear: () => set({ busy: false, error: null, result: undefined }) }
}
