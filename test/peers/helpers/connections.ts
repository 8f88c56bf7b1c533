import { Agent, setGlobalDispatcher } from 'undici';

/**
 * The suites ask over a new connection each time. Servers close those that nobody uses, Orthanc after a second or less, and what is asked at
 * that moment over one that was kept has no answer; so has what is asked of a process that is being killed.
 */
setGlobalDispatcher(new Agent({ pipelining: 0 }));
