<?php

// Plays calls of docs/clients/laravel/Curfew.php, and routes of AuthController.php.
//
// The argument is a file with one call a line, as a query string: the function's name, the scope if there is one, and the
// token or user. One line of JSON is printed for each.

declare(strict_types=1);

use App\Services\Curfew;
use App\Services\CurfewNotConfirmed;
use App\Services\CurfewSessionMissing;

require __DIR__.'/CurfewNotConfirmed.php';
require __DIR__.'/CurfewSessionMissing.php';
require __DIR__.'/Curfew.php';
require __DIR__.'/controller.php';

/** What an error tracker records of an error: every argument of every call, but for those of this file's own function. */
function traced(Throwable $error): string
{
    $frames = array_filter($error->getTrace(), fn ($frame) => $frame['function'] !== 'play');
    return print_r(array_map(fn ($frame) => $frame['args'] ?? [], $frames), true).$error;
}

function play(array $call): array
{
    if ($call['call'] === 'route') {
        return routed($call['subject']);
    }
    // A line of its own: `send` is recorded instead of sent.
    $sent = [];
    $send = $call['call'] !== 'recorded' ? null : function (string $url, array $headers, string $body) use (&$sent): array {
        $sent = [$url, array_keys($headers), $body];
        return [200, null, '{"message":"Successfully Logged Out."}'];
    };
    $curfew = new Curfew(
        publicUrl: getenv('CURFEW_PUBLIC_URL'), internalUrl: getenv('CURFEW_INTERNAL_URL'),
        secret: getenv('CURFEW_INTERNAL_SECRET'), appId: getenv('CURFEW_APP_ID'), appKey: getenv('CURFEW_APP_KEY'),
        timeout: getenv('TIMEOUT_MS') / 1000, send: $send,
    );
    fwrite(STDERR, print_r($curfew, true));
    try {
        return match ($call['call']) {
            'logout' => ['outcome' => $curfew->logout($call['subject'], $call['scope'] ?? null)],
            'logoutAllDevices' => ['outcome' => $curfew->logoutAllDevices($call['subject'])],
            'logoutUser' => ['outcome' => $curfew->logoutUser($call['subject'])],
            'logoutNobody' => ['outcome' => $curfew->logoutUser(null)],
            'register' => ['outcome' => $curfew->register($call['subject'], "a device \xff", '::1') ?? 'done'],
            'recorded' => ['outcome' => $curfew->logout($call['subject']), 'sent' => $sent],
        };
    } catch (CurfewNotConfirmed $error) {
        fwrite(STDERR, traced($error));
        $told = ['error' => $error->getMessage(), 'retryAfter' => $error->retryAfter];
        return $told + ['status' => $error->status, 'code' => $error->problem];
    } catch (CurfewSessionMissing $error) {
        fwrite(STDERR, traced($error));
        return ['missing' => $error->getMessage()];
    } catch (Throwable $error) {
        fwrite(STDERR, traced($error));
        return ['crash' => $error->getMessage()];
    }
}

foreach (file($argv[1], FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
    parse_str($line, $call);
    echo json_encode(play($call), JSON_THROW_ON_ERROR), "\n";
}
