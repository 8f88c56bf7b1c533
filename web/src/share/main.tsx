import '../styles/base.css';
import '../styles/share.css';
import { render } from 'preact';
import { SharePage } from './page.tsx';

render(<SharePage />, document.getElementById('app') as HTMLElement);
