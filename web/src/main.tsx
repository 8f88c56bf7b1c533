import './styles/base.css';
import './styles/layout.css';
import './styles/studies.css';
import './styles/study.css';
import './styles/upload.css';
import './styles/gateways.css';
import './styles/worklist.css';
import './styles/audit.css';
import './styles/tokens.css';
import './styles/access.css';
import './styles/shares.css';
import { render } from 'preact';
import { App } from './app.tsx';
import { noteArrival } from './arrival.ts';
import { resumeAfterViewer } from './router.ts';

noteArrival();
resumeAfterViewer();
render(<App />, document.getElementById('app') as HTMLElement);
